"""One training step against plain LightGCN and RecBole, and where its time goes.

A step assembles a batch, computes the loss and its gradients and updates all embeddings. Ours is
the module itself: in a bare loop, and in a Lightning Trainer as the command line sets it up.
`--model knowledge` adds a generated knowledge graph, `--model full` two modalities as well.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks import ours, recbole
from benchmarks.baselines import PlainLightGCN, PythonBatches, coo_adjacency
from benchmarks.data import InteractionData, load
from benchmarks.harness import (
    Prepared,
    Report,
    Row,
    Timing,
    Variant,
    bandwidth_limit,
    compare,
)
from benchmarks.probes import synchronise
from benchmarks.settings import MODELS, Settings
from benchmarks.spmm import product_bytes
from benchmarks.training import Case, checked, endless, on_device
from slifmr_pl.data.batches import TrainBatch

# Adam divides gradients by their size, and so enlarges the rounding of the smallest ones.
TOLERANCE = 2e-3
PARTS = ("batch assembly", "loss and propagation, both ways", "optimizer")


def benchmark(settings: Settings) -> Iterator[Report]:
    data = load(settings)
    model = settings.model or "lightgcn"
    case = Case(data, settings, model)
    yield compare(
        f"One training step of {MODELS[model]} ({data.title}; d {settings.dim}, "
        f"{ours.LAYERS} layers, batch {case.batch_size})",
        [
            Variant("ours, bare loop", case.prepare_bare, units=case.steps),
            Variant(
                "ours, Lightning Trainer",
                case.prepare_trainer,
                units=case.steps,
                kind="ours",
                note="memory is that of fit, with the graph",
            ),
            *(_baselines(case) if model == "lightgcn" else _scale(data, settings)),
        ],
        settings,
        limits=[_limit(case)],
        tolerance=TOLERANCE,
    )
    yield _profile(case)


def _baselines(case: Case) -> list[Variant]:
    data, settings, device = case.data, case.settings, case.settings.device

    def prepare_plain(batches: Callable[[], Iterable[tuple[Any, ...]]]) -> Prepared:
        users, items = case.tables()
        model = PlainLightGCN(coo_adjacency(data, device), users, items, ours.LAYERS, ours.L2)
        model.to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr=ours.LEARNING_RATE)
        stream = itertools.chain.from_iterable(batches() for _ in itertools.count())

        def loss_of(batch: TrainBatch) -> Tensor:
            return model.loss(batch.users, batch.positives, batch.negatives[:, 0])

        def step(batch: TrainBatch) -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(batch)
            loss.backward()
            optimizer.step()
            return loss

        def run() -> None:
            for _ in range(case.steps):
                users, positives, negatives = next(stream)[:3]
                negatives = negatives.reshape(len(users), -1)
                batch = TrainBatch(users, positives, negatives, positives, 1, users)
                step(on_device(batch, device))

        def result() -> dict[str, Tensor]:
            tables = model.user_embedding.weight, model.item_embedding.weight
            return checked(case.fixed, step, tables, loss_of, device)

        return Prepared(run, result)

    return [
        Variant(
            "plain LightGCN",
            lambda: prepare_plain(lambda: PythonBatches(data, case.batch_size)),
            units=case.steps,
            note="COO, all layers full, stock Adam, per-row negatives",
        ),
        Variant(
            "plain LightGCN, our batches",
            lambda: prepare_plain(case.batches),
            units=case.steps,
        ),
        Variant(
            "RecBole LightGCN",
            lambda: recbole.prepare(data, settings, case.tables(), case.fixed, case.steps),
            units=case.steps,
            note="its own loader and Trainer._train_epoch, in its own process",
        ),
    ]


def _scale(data: InteractionData, settings: Settings) -> list[Variant]:
    lightgcn = Case(data, settings, "lightgcn")
    return [
        Variant(
            "ours as LightGCN, bare loop",
            lightgcn.prepare_bare,
            units=lightgcn.steps,
            compared=False,
            note="less work",
        )
    ]


def _limit(case: Case) -> Row:
    """Bytes of all full products, the batch's rows in the last, and fused Adam."""
    data, dim = case.data, case.settings.dim
    nodes = data.n_users + data.n_items
    rows = torch.cat(
        [case.fixed[0].users, *(part.flatten() + data.n_users for part in case.fixed[0][1:3])]
    ).unique()
    degrees = torch.cat(
        [
            torch.bincount(case.inputs.graph.users, minlength=data.n_users),
            torch.bincount(case.inputs.graph.items, minlength=data.n_items),
        ]
    )
    moved = 2 * (ours.LAYERS - 1) * product_bytes(2 * len(data.train), nodes, dim)
    moved += 2 * product_bytes(int(degrees[rows].sum()), len(rows), dim)
    triples, parameters = case.inputs.graph.triples, nodes * dim
    if triples is not None:
        inwards = int((triples.heads < data.n_items).sum())
        moved += 2 * product_bytes(inwards, data.n_items, dim)
        parameters += (triples.n_entities - data.n_items) * dim
    # Adam reads parameters, gradients and both moments and writes all but the gradients, which
    # are written once before.
    moved += 4 * 8 * parameters
    return bandwidth_limit(moved, case.settings, "products, batch rows, Adam; no cache")


def _profile(case: Case) -> Report:
    """Where the time of a step in the Trainer goes."""
    module = case.module()
    optimizer = module.configure_optimizers()
    device = case.settings.device
    stream = endless(case.batches(), device)
    batch = on_device(case.fixed[0], device)
    users = torch.unique(batch.users)
    items = torch.unique(torch.cat([batch.positives, batch.negatives.flatten()]))

    def propagate() -> None:
        views = module.network(module.propagation, users, items)
        (views.users.sum() + views.items.sum()).backward()
        optimizer.zero_grad()

    def inside(part: str) -> Callable[[], Timing]:
        """Steps as they are, of which one part is timed: with caches as the others leave them."""

        def run() -> Timing:
            seconds = dict.fromkeys(PARTS, 0.0)
            for _ in range(case.steps):
                times = [_now(device)]
                following = next(stream)
                times.append(_now(device))
                module.training_step(following, 0).backward()
                times.append(_now(device))
                optimizer.step()
                optimizer.zero_grad()
                times.append(_now(device))
                for name, (begin, end) in zip(PARTS, itertools.pairwise(times), strict=True):
                    seconds[name] += end - begin
            return Timing(seconds[part] / case.steps)

        return run

    def row(name: str, work: Callable[[], Any], *, probed: bool = True) -> Variant:
        return Variant(name, lambda: Prepared(work, probed=probed), kind="ours", compared=False)

    parts = compare(
        "Parts of our step",
        [
            Variant("step in the Trainer", case.prepare_trainer, units=case.steps),
            *(row(name, inside(name), probed=False) for name in PARTS),
            row("propagation alone, both ways", propagate),
        ],
        case.settings,
        tolerance=TOLERANCE,
    )
    assembly, both, update, propagation = (row.ratio or 0.0 for row in parts.rows[1:])
    shares = {
        "propagation": propagation,
        "loss": both - propagation,
        "optimizer": update,
        "batch assembly": assembly,
        "the rest (Lightning)": 1.0 - both - update - assembly,
    }
    text = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return replace(parts, figures={"shares": shares}, remarks=[f"Shares: {text}"], ratio="share")


def _now(device: torch.device) -> float:
    synchronise(device)
    return time.perf_counter()
