"""Batches of an epoch against a per-row negative sampler, and their share of the epoch."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.baselines import PythonBatches
from benchmarks.data import load
from benchmarks.harness import Prepared, Report, Variant, compare
from benchmarks.settings import Settings
from benchmarks.training import Case

EPOCH = "ours: the epoch's training, LightGCN"


def benchmark(settings: Settings) -> Iterator[Report]:
    data = load(settings)
    case = Case(data, settings, "lightgcn")
    train = data.train
    known = torch.from_numpy(train.users * data.n_items + train.items)

    def prepare(batches: Iterable[tuple[Any, ...]]) -> Prepared:
        def run() -> None:
            for _ in batches:
                pass

        return Prepared(run, lambda: what_was_drawn(batches))

    def what_was_drawn(batches: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
        columns = zip(*(batch[:3] for batch in batches), strict=True)
        users, positives, negatives = (torch.cat(column) for column in columns)
        drawn = users * data.n_items + negatives.flatten()
        return {
            "positives": torch.sort(users * data.n_items + positives).values,
            "negatives that are positives": int(torch.isin(drawn, known).sum()),
        }

    def prepare_limit() -> Callable[[], tuple[Tensor, ...]]:
        users, items = torch.from_numpy(train.users), torch.from_numpy(train.items)

        def run() -> tuple[Tensor, ...]:
            order = torch.randperm(len(users))
            return users[order], items[order], torch.rand(len(users), dtype=torch.float64)

        return run

    report = compare(
        f"Batches of one epoch ({data.title}; batches of {case.batch_size}, 1 negative)",
        [
            Variant("ours", lambda: prepare(case.batches())),
            Variant("per-row rejection", lambda: prepare(PythonBatches(data, case.batch_size))),
            Variant(
                EPOCH,
                case.prepare_bare,
                units=case.epoch_share,
                kind="ours",
                compared=False,
                note=f"from {case.steps} steps; with its batches",
            ),
            Variant(
                "limit: shuffle, look up, draw",
                prepare_limit,
                kind="limit",
                compared=False,
                note="one call of each for the whole epoch, no batches, no check of negatives",
            ),
        ],
        settings,
    )
    share = 1 / (report.row(EPOCH).ratio or 1.0)
    yield replace(
        report,
        figures={"share of an epoch": share},
        remarks=[f"Batches are {share:.1%} of an epoch."],
    )
