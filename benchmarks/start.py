"""Wall time of `slifmr --help`, and of `fit` up to its first training step."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from benchmarks.data import load, write_layout
from benchmarks.harness import Prepared, Report, Timing, Variant, compare
from benchmarks.report import REPOSITORY, readable_seconds
from benchmarks.settings import Settings

COLD, CACHED = "fit to its first step, caches empty", "fit to its first step, caches filled"
# Ends without Python's shutdown, as the runs of `fit` do.
IMPORTS = "import os, torch, pytorch_lightning; os._exit(0)"
REMARK = (
    "Stages are those of the last run. Caches are the package's own ($SLIFMR_CACHE); bytecode and "
    "file pages are as warm as after a first start."
)


def benchmark(settings: Settings) -> Iterator[Report]:
    data = load(settings)
    stages: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_layout(data, folder / "data")

        def variant(title: str, run: Callable[[], float], note: str = "") -> Variant:
            return Variant(
                title,
                lambda: Prepared(lambda: Timing(run()), lambda: None, probed=False),
                note=note,
                kind="limit" if title.startswith("limit") else "ours",
            )

        def fit(title: str, cache: Path) -> float:
            start = time.time()
            times = _times_of_fit(folder, cache, settings)
            points = [start, *times.values()]
            stages[title] = {
                stage: end - begin
                for stage, (begin, end) in zip(times, pairwise(points), strict=True)
            }
            return points[-1] - start

        def fit_cold() -> float:
            with tempfile.TemporaryDirectory(dir=folder) as cache:
                return fit(COLD, Path(cache))

        if not settings.quick:
            fit(CACHED, folder / "cache")
        report = compare(
            f"From the command line ({data.title})",
            [
                variant(COLD, fit_cold),
                variant(CACHED, lambda: fit(CACHED, folder / "cache")),
                variant(
                    "--help", lambda: _seconds(["lightning_cli.py", "--help"], folder, settings)
                ),
                variant(
                    "limit: import torch and Lightning",
                    lambda: _seconds(["-c", IMPORTS], folder, settings),
                ),
            ],
            settings,
        )
    rows = [
        replace(row, note=_stages(stages[row.name])) if row.name in stages else row
        for row in report.rows
    ]
    yield replace(
        report,
        rows=rows,
        figures={"stages": stages},
        remarks=[
            REMARK,
        ],
        ratio="÷ first",
    )


def _times_of_fit(folder: Path, cache: Path, settings: Settings) -> dict[str, float]:
    target = folder / "times.json"
    target.unlink(missing_ok=True)
    command = [
        "lightning_cli.py",
        "fit",
        "--config=model/lightgcn_bpr",
        f"--data.root={folder / 'data'}",
        "--data.split.strategy=given",
        f"--trainer.accelerator={'gpu' if settings.device.type == 'cuda' else 'cpu'}",
        "--trainer.devices=1",
        f"--trainer.default_root_dir={folder / 'runs'}",
        "--trainer.callbacks+=benchmarks.first_step.FirstStep",
        f"--trainer.callbacks.path={target}",
    ]
    _call(command, cache, settings)
    times: dict[str, float] = json.loads(target.read_text("utf-8"))
    return times


def _seconds(command: list[str], cache: Path, settings: Settings) -> float:
    start = time.perf_counter()
    _call(command, cache, settings)
    return time.perf_counter() - start


def _call(command: list[str], cache: Path, settings: Settings) -> None:
    result = subprocess.run(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env=os.environ | {"SLIFMR_CACHE": str(cache), "OMP_NUM_THREADS": str(settings.threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{result.stdout}\n{result.stderr}")


def _stages(seconds: dict[str, float]) -> str:
    return ", ".join(f"{stage} {readable_seconds(value)}" for stage, value in seconds.items())
