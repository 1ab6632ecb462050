"""Variants of one piece of work: checked against each other, then timed in turns."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import torch
from torch.testing import assert_close

from benchmarks.probes import bandwidth, peak_memory, seconds_of
from benchmarks.settings import Settings

Kind = Literal["ours", "baseline", "limit"]


class UnavailableError(Exception):
    """A variant that cannot run here; its message becomes the row's note."""


class Timing(NamedTuple):
    """What a run returns that holds the clock itself, for example in another process.

    Attributes:
        seconds: Of one unit of work.
        memory: Peak extra bytes of that process; None where the work is done in this one.
    """

    seconds: float
    memory: int | None = None


@dataclass(frozen=True)
class Prepared:
    """What a variant's preparation made.

    Attributes:
        run: The work that is timed; may return a `Timing` of its own.
        result: What is held against ours before anything is timed; default what `run` returns.
        close: Called at the end.
        probed: Whether a run before the timed ones warms up and measures memory; of no use for
            work that is a process of its own.
    """

    run: Callable[[], Any]
    result: Callable[[], Any] | None = None
    close: Callable[[], None] | None = None
    probed: bool = True


@dataclass(frozen=True)
class Variant:
    """One way to do the work.

    Attributes:
        name: Of the table's row.
        prepare: Untimed; returns what is timed. Raises `UnavailableError` where it cannot run.
        units: Units of work (steps, for example) in one run; the table shows one unit. A run that
            does part of a unit has less than 1.
        kind: The first variant is ours whatever this says.
        compared: Whether the result must be that of ours; a measured limit does less.
        note: Of the table's row.
    """

    name: str
    prepare: Callable[[], Callable[[], Any] | Prepared]
    units: float = 1
    kind: Kind = "baseline"
    compared: bool = True
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: What was measured.
        kind: Ours, a baseline or a limit.
        samples: Seconds of one unit in each repetition; empty where it could not run.
        ratio: Median over the repetitions of its time over that of ours.
        memory: Peak extra bytes, where measured.
        note: One remark.
    """

    name: str
    kind: Kind
    samples: tuple[float, ...] = ()
    ratio: float | None = None
    memory: int | None = None
    note: str = ""

    @property
    def seconds(self) -> float | None:
        """Median of the samples."""
        return statistics.median(self.samples) if self.samples else None

    @property
    def measured(self) -> float:
        """Median of the samples of a row that has some."""
        return statistics.median(self.samples)


@dataclass(frozen=True)
class Report:
    """One table.

    Attributes:
        title: What the rows have in common, with sizes.
        rows: Ours first.
        figures: Further numbers, by name; they are written and not printed.
        remarks: Lines below the table.
        ratio: Heading of the ratios.
    """

    title: str
    rows: Sequence[Row]
    figures: Mapping[str, Any] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    ratio: str = "÷ ours"

    def row(self, name: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)


def bandwidth_limit(
    bytes_moved: float,
    settings: Settings,
    what: str = "",
    name: str = "limit: bytes ÷ copy bandwidth",
) -> Row:
    """The time that moving the bytes takes at the bandwidth of a plain copy.

    Gathered rows that a cache still holds need not be moved: where they are counted, a fast
    implementation can fall below.
    """
    rate = bandwidth(settings)
    note = f"{bytes_moved / 1e9:.3g} GB at {rate / 1e9:.1f} GB/s" + (f": {what}" if what else "")
    return Row(name, "limit", (bytes_moved / rate,), note=note)


def compare(
    title: str,
    variants: Sequence[Variant],
    settings: Settings,
    *,
    limits: Iterable[Row] = (),
    tolerance: float = 1e-4,
    least_seconds: float | None = None,
) -> Report:
    """Prepares, checks and times the variants in turns.

    Every repetition measures each variant once, in an order that turns, so that whatever slows
    the machine down meets all of them. Results are compared, and memory is measured, in runs of
    their own before; they warm up as well.

    Args:
        title: Of the table.
        variants: Ours first.
        settings: Of the run.
        limits: Computed rows.
        tolerance: See `require_same`.
        least_seconds: Least time of one measurement; default `settings.least_seconds`.

    Raises:
        AssertionError: A variant computes something else than ours.
    """
    least = settings.least_seconds if least_seconds is None else least_seconds
    ready: list[_Ready] = []
    rows: dict[str, Row] = {}
    expected: Any = None
    try:
        for position, variant in enumerate(variants):
            kind: Kind = variant.kind if position else "ours"
            rows[variant.name] = Row(variant.name, kind, note=variant.note)
            try:
                prepared = _Ready.of(variant, settings)
            except UnavailableError as reason:
                rows[variant.name] = Row(variant.name, kind, note=f"not measured: {reason}")
                continue
            ready.append(prepared)
            if not position:
                expected = prepared.result()
            elif variant.compared:
                require_same(variant.name, expected, prepared.result(), tolerance)
            prepared.probe(least)
        samples: dict[str, list[float]] = {entry.name: [] for entry in ready}
        for repeat in range(settings.repeats):
            turn = repeat % len(ready)
            for entry in ready[turn:] + ready[:turn]:
                samples[entry.name].append(entry.seconds())
    finally:
        for entry in ready:
            entry.close()
    reference = samples[variants[0].name]
    for entry in ready:
        rows[entry.name] = replace(
            rows[entry.name],
            samples=tuple(samples[entry.name]),
            ratio=_ratio(samples[entry.name], reference),
            memory=entry.memory,
        )
    ours = statistics.median(reference)
    computed = [replace(row, ratio=row.measured / ours) for row in limits]
    return Report(title, [*rows.values(), *computed])


class _Ready:
    """A prepared variant, with the number of calls that make one measurement."""

    def __init__(self, variant: Variant, prepared: Prepared, settings: Settings) -> None:
        self.name = variant.name
        self._units = variant.units
        self._prepared = prepared
        self._device = settings.device
        self._calls = 1
        self.memory: int | None = None
        self._timing: Timing | None = None

    @classmethod
    def of(cls, variant: Variant, settings: Settings) -> "_Ready":
        prepared = variant.prepare()
        if not isinstance(prepared, Prepared):
            prepared = Prepared(prepared)
        return cls(variant, prepared, settings)

    def result(self) -> Any:
        return (self._prepared.result or self._prepared.run)()

    def probe(self, least_seconds: float) -> None:
        if not self._prepared.probed:
            return
        self.memory = peak_memory(self._run, self._device)
        if self._timing is not None:
            self.memory = self._timing.memory or self.memory
            return
        seconds = seconds_of(self._run, 1, self._device)
        self._calls = max(1, math.ceil(least_seconds / max(seconds, 1e-9)))

    def seconds(self) -> float:
        seconds = seconds_of(self._run, self._calls, self._device)
        return self._timing.seconds if self._timing is not None else seconds / self._units

    def close(self) -> None:
        if self._prepared.close is not None:
            self._prepared.close()

    def _run(self) -> None:
        result = self._prepared.run()
        if isinstance(result, Timing):
            self._timing = result


def require_same(name: str, expected: Any, actual: Any, tolerance: float) -> None:
    """Checks numbers, tensors, None, and mappings and sequences of them.

    Args:
        name: Of the other variant.
        expected: The result of ours.
        actual: The other result.
        tolerance: Largest difference, as a share of the largest expected entry.

    Raises:
        AssertionError: They differ.
    """
    if expected is None or actual is None:
        assert expected is actual, f"{name}: {actual} for {expected}"
    elif isinstance(expected, Mapping):
        assert expected.keys() == actual.keys(), f"{name}: {list(actual)} for {list(expected)}"
        for key, value in expected.items():
            require_same(f"{name}, {key}", value, actual[key], tolerance)
    elif isinstance(expected, tuple | list):
        assert len(expected) == len(actual), f"{name}: {len(actual)} results for {len(expected)}"
        for place, (value, other) in enumerate(zip(expected, actual, strict=True)):
            require_same(f"{name}, {place}", value, other, tolerance)
    else:
        expected, actual = torch.as_tensor(expected), torch.as_tensor(actual)
        largest = float(expected.double().abs().max()) if expected.numel() else 0.0
        assert_close(
            actual,
            expected,
            rtol=0.0,
            atol=tolerance * largest if expected.is_floating_point() else 0.0,
            msg=lambda text: f"{name} computes something else than ours: {text}",
        )


def _ratio(samples: Sequence[float], reference: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(samples, reference, strict=True))
