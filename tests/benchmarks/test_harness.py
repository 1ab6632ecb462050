import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmarks.harness import (
    Prepared,
    Report,
    Row,
    Timing,
    UnavailableError,
    Variant,
    bandwidth_limit,
    compare,
)
from benchmarks.probes import peak_memory
from benchmarks.report import readable_bytes, readable_seconds, show, write
from benchmarks.settings import Settings

SETTINGS = Settings(repeats=3, quick=True, threads=1)
MEBIBYTE = 1 << 20


def clocked(name: str, *seconds: float, result: float = 1.0) -> Variant:
    """Takes the given times, one after the other, after the run that measures memory."""
    times = iter((0.0, *seconds))
    run: Callable[[], Timing] = lambda: Timing(next(times), memory=7)  # noqa: E731
    return Variant(name, lambda: Prepared(run, lambda: result))


def test_ratio_is_the_median_of_the_ratios_of_each_repetition() -> None:
    report = compare("", [clocked("ours", 1, 2, 4), clocked("other", 3, 4, 20)], SETTINGS)
    assert report.row("other").samples == (3, 4, 20)
    assert report.row("other").seconds == 4
    assert report.row("other").ratio == 3
    assert report.row("ours").ratio == 1
    assert [row.kind for row in report.rows] == ["ours", "baseline"]
    assert report.row("other").memory == 7


def test_limit_is_held_against_the_median_of_ours() -> None:
    limit = bandwidth_limit(5e9, SETTINGS)  # a quick run takes 10 GB/s for granted
    report = compare("", [clocked("ours", 1, 2, 4)], SETTINGS, limits=[limit])
    assert report.rows[-1].kind == "limit"
    assert report.rows[-1].seconds == 0.5
    assert report.rows[-1].ratio == 0.25


def test_variants_take_turns() -> None:
    order = []

    def variant(name: str) -> Variant:
        return Variant(name, lambda: lambda: order.append(name))

    compare("", [variant("a"), variant("b"), variant("c")], SETTINGS)
    assert "".join(order[-9:]) == "abcbcacab"


def test_units_divide_the_time() -> None:
    variants = [Variant("one", lambda: int), Variant("thousand", lambda: int, units=10**9)]
    report = compare("", variants, SETTINGS)
    assert report.row("thousand").measured < 1e-6 * report.row("one").measured


@pytest.mark.parametrize("result", [1.1, torch.tensor([1.0, 1.0]), None])
def test_other_work_is_refused_before_it_is_timed(result: object) -> None:
    def never() -> None:
        raise RuntimeError("timed")

    other = Variant("other", lambda: Prepared(never, lambda: result))
    with pytest.raises(AssertionError, match="other"):
        compare("", [clocked("ours", 1, 1, 1), other], SETTINGS)


def test_difference_is_named_and_measured_against_the_largest_entry() -> None:
    ours = {"loss": 0.5, "gradient": torch.tensor([1e-6, 2e-6])}
    other = {"loss": 0.5, "gradient": torch.tensor([1e-6, 2.1e-6])}
    variants = [
        Variant("ours", lambda: Prepared(int, lambda: ours)),
        Variant("theirs", lambda: Prepared(int, lambda: other)),
    ]
    with pytest.raises(AssertionError, match="theirs, gradient computes something else"):
        compare("", variants, SETTINGS)
    compare("", variants, SETTINGS, tolerance=0.1)


def test_what_cannot_run_is_a_row_with_the_reason() -> None:
    def prepare() -> Prepared:
        raise UnavailableError("needs a wheel")

    closed = []
    last = Variant("last", lambda: Prepared(int, close=lambda: closed.append("last")))
    report = compare("", [Variant("ours", lambda: int), Variant("absent", prepare), last], SETTINGS)
    assert report.row("absent").samples == ()
    assert report.row("absent").ratio is None
    assert report.row("absent").note == "not measured: needs a wheel"
    assert report.row("last").ratio is not None
    assert closed == ["last"]


def test_work_in_other_processes_is_not_run_before_the_timed_runs() -> None:
    calls = []

    def run() -> Timing:
        calls.append(1)
        return Timing(2.0)

    variants = [Variant("ours", lambda: Prepared(run, lambda: None, probed=False))]
    report = compare("", variants, SETTINGS)
    assert len(calls) == SETTINGS.repeats
    assert report.row("ours").samples == (2.0,) * SETTINGS.repeats
    assert report.row("ours").memory is None


def test_memory_probe_sees_what_is_freed_before_the_end() -> None:
    held = torch.ones(32 * MEBIBYTE // 4)

    def allocate_and_free() -> None:
        (torch.ones(64 * MEBIBYTE // 4) + 1).sum()

    cpu = torch.device("cpu")
    for _ in range(2):  # what the first run leaves in the allocator is not missed in the second
        peak = peak_memory(allocate_and_free, cpu)
        assert peak is not None
        assert 120 * MEBIBYTE < peak < 160 * MEBIBYTE
    nothing = peak_memory(lambda: held.sum(), cpu)
    assert nothing is not None
    assert nothing < 8 * MEBIBYTE


def test_json_has_figures_environment_and_command(tmp_path: Path) -> None:
    report = compare("Title", [clocked("ours", 1, 2, 4)], SETTINGS)
    report = Report(report.title, report.rows, {"share": 0.5}, ["remark"])
    path = tmp_path / "new" / "name.json"
    write(path, "name", [report], SETTINGS, ["python", "-m", "benchmarks", "name", "a b"])
    content = json.loads(path.read_text("utf-8"))
    assert content["benchmark"] == "name"
    assert content["command"] == "python -m benchmarks name 'a b'"
    assert content["settings"]["device"] == "cpu"
    assert content["settings"]["data"] is None
    assert content["environment"]["packages"]["torch"] == torch.__version__
    assert content["environment"]["hardware"].keys() >= {"cpu", "cpus", "threads", "gpus"}
    assert content["git"] is None or content["git"].keys() == {"commit", "dirty"}
    (table,) = content["reports"]
    assert table["title"] == "Title"
    assert table["figures"] == {"share": 0.5}
    assert table["remarks"] == ["remark"]
    assert table["rows"] == [
        {
            "name": "ours",
            "kind": "ours",
            "samples": [1, 2, 4],
            "seconds": 2,
            "ratio": 1.0,
            "memory": 7,
            "note": "",
        }
    ]


def test_table_shows_each_row_and_remark() -> None:
    rows = [
        Row("ours", "ours", (0.002, 0.001, 0.004), 1.0, 3 * MEBIBYTE, "a note"),
        Row("absent", "baseline", note="not measured"),
    ]
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    show(Report("Title", rows, remarks=["[1] of 2"]), console)
    text = console.export_text()
    for part in ("Title", "2.00 ms (-50% +100%)", "1.00", "3 MiB", "a note", "absent", "[1] of 2"):
        assert part in text


def test_units_fit_the_size() -> None:
    assert [readable_seconds(s) for s in (9e8, 9000, 123.4, 1.5, 0.0123, 4.56e-5, 7e-8)] == [
        "10,417 days",
        "2.50 hours",
        "123 s",
        "1.50 s",
        "12.3 ms",
        "45.6 µs",
        "70.0 ns",
    ]
    assert readable_bytes(300 << 20) == "300 MiB"
    assert readable_bytes(15 << 30) == "15.0 GiB"
