"""Epoch, evaluation and peak memory from 0.1M to 20M interactions, and what 1B would take.

Each size runs in a process of its own. Long epochs and evaluations are extrapolated from a part,
which the table names.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import ours
from benchmarks.data import generate
from benchmarks.harness import Report, Row
from benchmarks.probes import resident_peak, restart_peak, seconds_of, synchronise
from benchmarks.report import REPOSITORY, readable_bytes, readable_seconds
from benchmarks.settings import MODELS, Model, Settings
from benchmarks.training import Case, on_device
from slifmr_pl.config.optional import library
from slifmr_pl.data.batches import EvalBatch, EvalBatches
from slifmr_pl.data.interactions import UserItems

SIZES = (100_000, 1_000_000, 5_000_000, 20_000_000)
QUICK_SIZES = (3_000, 12_000)
INTERACTIONS_A_USER, INTERACTIONS_AN_ITEM = 12, 34  # as in amazon-book
BILLION = 1_000_000_000
EVAL_BATCH = 1024
PART_SECONDS = 15.0  # how long a part of an epoch or an evaluation is watched
QUANTITIES = ("step", "epoch", "evaluation", "memory")
REMARK = (
    "An epoch has n ÷ batch steps, and each propagates over all n interactions: n² at a fixed "
    "batch. An evaluation ranks users × items: n² as well."
)


@dataclass(frozen=True)
class Measurement:
    """One size.

    Attributes:
        interactions: n, training and test.
        users: U.
        items: I.
        epoch: Seconds of one epoch of training.
        steps_watched: Steps that were timed.
        steps: Steps of an epoch.
        evaluation: Seconds of ranking all items for all users with test items.
        batches_watched: Batches of users that were timed.
        batches: Batches of users of an evaluation.
        memory: Most bytes that the data and everything made of them took.
    """

    interactions: int
    users: int
    items: int
    epoch: float
    steps_watched: int
    steps: int
    evaluation: float
    batches_watched: int
    batches: int
    memory: int

    @property
    def step(self) -> float:
        """Seconds of one step."""
        return self.epoch / self.steps


def benchmark(settings: Settings) -> Iterator[Report]:
    sizes = QUICK_SIZES if settings.quick else SIZES
    measurements = [_in_own_process(size, settings) for size in sizes]
    growth = {name: exponents(measurements, name) for name in QUANTITIES}
    if settings.plot is not None:
        draw(measurements, settings.plot)
    yield Report(
        f"Growth with the interactions ({MODELS[_model(settings)]}, d {settings.dim}, "
        f"{ours.LAYERS} layers, batch {ours.batch_size(settings)}; users and items grow with them)",
        list(_rows(measurements)),
        figures={"measurements": [asdict(m) for m in measurements], "exponents": growth},
        remarks=[
            *(_outlook(name, growth[name], measurements[-1]) for name in QUANTITIES),
            REMARK,
        ],
        ratio="÷ first",
    )


def measure(size: int, settings: Settings) -> Measurement:
    """Trains and evaluates on generated data of one size, in this process."""
    floor = restart_peak()
    data = generate(size // INTERACTIONS_A_USER, size // INTERACTIONS_AN_ITEM, size)
    restart_peak()  # the generator's own work does not count
    case = Case(data, settings, _model(settings))
    epoch, steps_watched, steps = _epoch(case)
    evaluation, batches_watched, batches = _evaluation(case)
    return Measurement(
        interactions=size,
        users=data.n_users,
        items=data.n_items,
        epoch=epoch,
        steps_watched=steps_watched,
        steps=steps,
        evaluation=evaluation,
        batches_watched=batches_watched,
        batches=batches,
        memory=resident_peak() - floor,
    )


def _model(settings: Settings) -> Model:
    return settings.model or "knowledge"


def exponents(measurements: Sequence[Measurement], name: str) -> dict[str, float]:
    """Slopes of log(quantity) over log(interactions).

    Returns:
        `all`: least squares over all sizes; `last`: between the two largest.
    """
    x = np.log([m.interactions for m in measurements])
    y = np.log([getattr(m, name) for m in measurements])
    last = (y[-1] - y[-2]) / (x[-1] - x[-2])
    return {"all": float(np.polyfit(x, y, 1)[0]), "last": float(last)}


def draw(measurements: Sequence[Measurement], path: Path) -> None:
    """Draws the quantities over the interactions, both logarithmic.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    library("matplotlib", "report", "the plot", "leave --plot out")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    x = [m.interactions for m in measurements]
    for axis, names, label in (
        (left, ("epoch", "evaluation"), "seconds"),
        (right, ("memory",), "GiB"),
    ):
        for name in names:
            y = [getattr(m, name) / (2**30 if name == "memory" else 1) for m in measurements]
            slope = exponents(measurements, name)["all"]
            axis.loglog(x, y, marker="o", label=f"{name}: n^{slope:.2f}")
        axis.set_xlabel("interactions n")
        axis.set_ylabel(label)
        axis.grid(visible=True, which="major", alpha=0.3)
        axis.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a date and with names of its own, the same figures make the same file.
    with rc_context({"svg.hashsalt": "growth"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _in_own_process(size: int, settings: Settings) -> Measurement:
    # Paths are of no use there, and would have to be turned into text and back.
    plain = {
        "threads": settings.threads,
        "device": str(settings.device),
        "quick": settings.quick,
        "dim": settings.dim,
        "model": _model(settings),
    }
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.growth", str(size), json.dumps(plain)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"{size:,} interactions failed:\n{result.stderr[-4000:]}")
    return Measurement(**json.loads(result.stdout.splitlines()[-1]))


def _epoch(case: Case) -> tuple[float, int, int]:
    """Seconds of an epoch, steps watched and steps."""
    module = case.module()
    optimizer = module.configure_optimizers()
    batches = iter(case.batches())
    steps = len(case.batches())

    def step() -> None:
        batch = on_device(next(batches), case.settings.device)
        module.training_step(batch, 0).backward()
        optimizer.step()
        optimizer.zero_grad()

    return *_watched(step, steps, case.settings), steps


def _evaluation(case: Case) -> tuple[float, int, int]:
    """Seconds of an evaluation, batches watched and batches."""
    data, device = case.data, case.settings.device
    module = case.module()
    relevant = UserItems.of(data.n_users, data.test)
    users = np.flatnonzero(relevant.counts)
    loader = EvalBatches(
        users, UserItems.of(data.n_users, data.train), relevant, batch_size=EVAL_BATCH
    )
    batches = iter(loader)
    with torch.inference_mode():
        module.on_validation_start()
        start = seconds_of(module.on_validation_epoch_start, 1, device)
        seconds, watched = _watched(
            lambda: module.validation_step(_on_device(next(batches), device), 0),
            len(loader),
            case.settings,
        )
        end = seconds_of(module.on_validation_epoch_end, 1, device)
    return start + seconds + end, watched, len(loader)


def _on_device(batch: EvalBatch, device: torch.device) -> EvalBatch:
    return type(batch)(*(part.to(device) for part in batch))


def _watched(part: Callable[[], object], parts: int, settings: Settings) -> tuple[float, int]:
    """Seconds of all parts, from those of the first few (the very first warms up)."""
    limit = 0.2 if settings.quick else PART_SECONDS
    if parts > 1:
        part()
    first, last = min(parts - 1, 1), parts
    start = time.perf_counter()
    done = 0
    for _ in range(first, last):
        part()
        done += 1
        synchronise(settings.device)
        if time.perf_counter() - start > limit:
            break
    return (time.perf_counter() - start) / done * parts, done


def _rows(measurements: Sequence[Measurement]) -> Iterator[Row]:
    first = measurements[0]
    for m in measurements:
        sizes = f"{m.interactions / 1e6:.3g}M"
        epoch = f"{m.users:,} users, {m.items:,} items, {m.steps:,} steps"
        if m.steps_watched + 1 < m.steps:
            epoch += f", extrapolated from {m.steps_watched}"
        yield Row(
            f"{sizes}: epoch", "ours", (m.epoch,), m.epoch / first.epoch, m.memory, note=epoch
        )
        evaluation = f"{m.batches:,} batches of users"
        if m.batches_watched + 1 < m.batches:
            evaluation += f", extrapolated from {m.batches_watched}"
        ratio = m.evaluation / first.evaluation
        yield Row(f"{sizes}: evaluation", "ours", (m.evaluation,), ratio, note=evaluation)


def _outlook(name: str, growth: Mapping[str, float], largest: Measurement) -> str:
    value = getattr(largest, name) * (BILLION / largest.interactions) ** growth["last"]
    amount = readable_bytes(int(value)) if name == "memory" else readable_seconds(value)
    return (
        f"{name} grows as n^{growth['all']:.2f}, between the last two sizes as "
        f"n^{growth['last']:.2f}; at that pace 1B interactions take {amount}."
    )


def _main(size: int, plain: dict[str, Any]) -> None:
    settings = replace(
        Settings(),
        threads=plain["threads"],
        device=torch.device(plain["device"]),
        quick=plain["quick"],
        dim=plain["dim"],
        model=plain["model"],
    )
    torch.set_num_threads(settings.threads)
    print(json.dumps(asdict(measure(size, settings))))


if __name__ == "__main__":
    _main(int(sys.argv[1]), json.loads(sys.argv[2]))
