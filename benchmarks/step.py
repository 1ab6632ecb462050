"""One training step against plain LightGCN and RecBole, and where its time goes.

A step assembles a batch, computes the loss and its gradients and updates all embeddings. Ours is
the module itself: in a bare loop, and in a Lightning Trainer as the command line sets it up. With
`--model full` it is SLIF-MR with a generated knowledge graph and two modalities.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks import ours, recbole
from benchmarks.baselines import PlainLightGCN, PythonBatches, coo_adjacency
from benchmarks.data import InteractionData, load
from benchmarks.harness import Prepared, Report, Row, Variant, bandwidth_limit, compare
from benchmarks.settings import Settings
from benchmarks.spmm import product_bytes
from benchmarks.training import Case, checked, endless, on_device
from slifmr_pl.data.batches import TrainBatch

# Adam divides gradients by their size, and so enlarges the rounding of the smallest ones.
TOLERANCE = 2e-3


def benchmark(settings: Settings) -> Iterator[Report]:
    data = load(settings)
    full = settings.model == "full"
    case = Case(data, settings, full=full)
    what = "SLIF-MR" if full else "LightGCN"
    yield compare(
        f"One training step of {what} ({data.title}; d {settings.dim}, {ours.LAYERS} layers, "
        f"batch {case.batch_size})",
        [
            Variant("ours, bare loop", case.prepare_bare, units=case.steps),
            Variant(
                "ours, Lightning Trainer",
                case.prepare_trainer,
                units=case.steps,
                kind="ours",
                note="memory is that of fit, with the graph",
            ),
            *(_scale(data, settings) if full else _baselines(case)),
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
                batch = TrainBatch(users, positives, negatives, positives, 1)
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
    lightgcn = Case(data, settings, full=False)
    return [
        Variant(
            "ours as LightGCN, bare loop",
            lightgcn.prepare_bare,
            units=lightgcn.steps,
            compared=False,
            note="less work: no knowledge graph, no modalities",
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
    parameters = list(module.parameters())

    def propagate() -> None:
        views = module.network(module.propagation, users, items)
        (views.users.sum() + views.items.sum()).backward()

    def learn() -> None:
        module.training_step(batch, 0).backward()

    def clear() -> None:
        for parameter in parameters:
            parameter.grad = None

    def with_fresh_gradients(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            work()
            clear()

        return run

    learn()
    gradients = [parameter.grad for parameter in parameters]

    def optimise() -> None:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        optimizer.zero_grad()

    def part(name: str, work: Callable[[], Any]) -> Variant:
        return Variant(name, lambda: work, kind="ours", compared=False)

    parts = compare(
        "Parts of our step",
        [
            Variant("step in the Trainer", case.prepare_trainer, units=case.steps),
            Variant("step in a bare loop", case.prepare_bare, units=case.steps, kind="ours"),
            part("loss and propagation, both ways", with_fresh_gradients(learn)),
            part("propagation, both ways", with_fresh_gradients(propagate)),
            part("optimizer", optimise),
            part("batch assembly", lambda: next(stream)),
        ],
        case.settings,
        tolerance=TOLERANCE,
    )
    both, propagation, update, assembly = (row.ratio or 0.0 for row in parts.rows[2:])
    shares = {
        "propagation": propagation,
        "loss": both - propagation,
        "optimizer": update,
        "batch assembly": assembly,
        "the rest (Lightning)": 1.0 - both - update - assembly,
    }
    text = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return replace(parts, figures={"shares": shares}, remarks=[f"Shares: {text}"], ratio="share")
