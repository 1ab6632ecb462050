"""Runs of `fit` that are killed at random moments, resumed, and compared with an unbroken one.

python -m tests.checkpoints.faults --kills 50 --seed 1

Every run is a process of its own with the whole command line. A process is killed with SIGKILL
after a random time, then resumed with `--ckpt_path last`, and perhaps killed again, until it ends.
It has to end with the checkpoint and the metrics of the unbroken run, to the last bit.
"""

import argparse
import csv
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

EPOCHS, BATCHES = 4, 8
# Preloaded: a process starts in milliseconds, with no threads of its parent in it.
SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(["slifmr_pl.cli.entry_point", "tests.tiny_runs"])


def small_config(catalogue: Path) -> list[str]:
    """Arguments of `fit` on a small catalogue: 8 batches an epoch."""
    return [
        "fit",
        *("--config", "configs/demo.yaml", "--data.root", str(catalogue)),
        *("--data.batch_size", "128", "--model.network.embedding_dim", "16"),
        *("--trainer.max_epochs", str(EPOCHS), "--trainer.enable_progress_bar", "false"),
    ]


def _run(arguments: list[str], log: Path) -> None:
    from slifmr_pl.cli import main

    torch.set_num_threads(1)
    # A shell starts what runs in the background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(main(arguments))


def start(arguments: Sequence[str], root: Path) -> BaseProcess:
    """Starts the command line in a process of its own, which writes to `root/log`."""
    root.mkdir(parents=True, exist_ok=True)
    full = [*arguments, "--trainer.default_root_dir", str(root)]
    process = SPAWN.Process(target=_run, args=(full, root / "log"))
    process.start()
    return process


def finish(process: BaseProcess, seconds: float = 120.0) -> int | None:
    """Waits for the exit status: negative where a signal ended it, None where time ran out."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    return process.exitcode


def last_checkpoint(root: Path) -> Path | None:
    """`last.ckpt` of the newest run that has one."""
    saved = [
        path
        for path in root.glob("demo/version_*/checkpoints/last.ckpt")
        if path.stat().st_size  # a kill leaves it whole or absent, which the comparison shows
    ]
    return max(saved, key=lambda path: int(path.parts[-3].removeprefix("version_")), default=None)


def outcome(root: Path) -> dict[str, Any]:
    """What a finished run left behind, without the paths in it."""
    path = last_checkpoint(root)
    assert path is not None
    checkpoint = torch.load(path, weights_only=True)
    callbacks = {
        key: {
            name: Path(value).name if isinstance(value, str) else value
            for name, value in state.items()
            if name in ("best_model_score", "best_model_path", "wait_count", "best_score")
        }
        for key, state in checkpoint["callbacks"].items()
    }
    kept = ("epoch", "global_step", "state_dict", "optimizer_states", "slifmr")
    return {**{name: checkpoint[name] for name in kept}, "callbacks": callbacks}


def metrics(root: Path) -> dict[int, dict[str, str]]:
    """All logged values by epoch, of a run and those that it was resumed from."""
    merged: dict[int, dict[str, str]] = {}
    folders = (root / "demo").glob("version_*")
    for folder in sorted(folders, key=lambda path: int(path.name.removeprefix("version_"))):
        path = folder / "metrics.csv"
        for row in rows_of(path) if path.is_file() else ():
            merged.setdefault(int(row["epoch"]), {}).update(row)
    return merged


def rows_of(path: Path) -> list[dict[str, str]]:
    """The values in each row of a `metrics.csv`."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if value} for row in rows]


def differences(found: Any, expected: Any, name: str = "") -> list[str]:
    """Names of what is not equal, bit for bit."""
    if isinstance(expected, torch.Tensor):
        same = (
            isinstance(found, torch.Tensor)
            and found.dtype == expected.dtype
            and torch.equal(found, expected)
        )
        return [] if same else [name]
    if isinstance(expected, dict):
        if not isinstance(found, dict) or found.keys() != expected.keys():
            return [f"keys of {name}"]
        return [
            d for key in expected for d in differences(found[key], expected[key], f"{name}.{key}")
        ]
    if isinstance(expected, list | tuple):
        if len(found) != len(expected):
            return [f"length of {name}"]
        pairs = enumerate(zip(found, expected, strict=True))
        return [d for i, (one, other) in pairs for d in differences(one, other, f"{name}.{i}")]
    return [] if found == expected else [f"{name}: {found!r} != {expected!r}"]


class Killer:
    """Starts runs, kills them, resumes them, and counts what it met.

    Args:
        arguments: Of `fit`.
        seconds: That the training of an unbroken run takes.
    """

    def __init__(self, arguments: list[str], seconds: float) -> None:
        self.arguments = arguments
        self.seconds = seconds
        self.counts: Counter[str] = Counter()

    def run(self, root: Path, moments: Sequence[float]) -> None:
        """Kills at each of the moments, then lets the last resume end.

        Args:
            root: Folder of the runs.
            moments: Shares, 0 to 1, of what is left to train; a negative one is counted from the
                start of the process, and kills before or as training begins.
        """
        for moment in moments:
            process, folders = self._start(root)
            wait = -moment * self.seconds
            if moment >= 0:
                _wait_until_it_trains(root, process, folders)
                wait = moment * _left(root) * self.seconds
            process.join(wait)
            if process.exitcode is not None:
                assert process.exitcode == 0, (root / "log").read_text()[-3000:]
                self.counts["runs that ended before the kill"] += 1
                return
            self._kill(root, process)
        assert finish(self._start(root)[0]) == 0, (root / "log").read_text()[-3000:]

    def _start(self, root: Path) -> tuple[BaseProcess, set[Path]]:
        folders = set(root.glob("demo/version_*"))
        # A run that was killed before its first save begins anew.
        last = ["--ckpt_path", "last"] if last_checkpoint(root) else []
        if not last:
            for folder in folders:
                shutil.rmtree(folder)
        return start([*self.arguments, *last], root), folders

    def _kill(self, root: Path, process: BaseProcess) -> None:
        assert process.pid is not None
        before = len(set(root.rglob("*.partial")))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        self.counts["kills"] += 1
        partial = len(set(root.rglob("*.partial"))) - before
        self.counts["kills while a checkpoint was written"] += partial
        saved = last_checkpoint(root)
        if saved is None:
            self.counts["kills before the first save"] += 1
        else:
            step = torch.load(saved, weights_only=True)["global_step"]  # whole, whenever it was
            self.counts["kills with last.ckpt within an epoch"] += step % BATCHES != 0


def _wait_until_it_trains(root: Path, process: BaseProcess, folders: set[Path]) -> None:
    while process.exitcode is None:
        new = set(root.glob("demo/version_*")) - folders
        if any((folder / "config.yaml").is_file() for folder in new):
            return
        process.join(0.002)


def _left(root: Path) -> float:
    saved = last_checkpoint(root)
    if saved is None:
        return 1.0
    return 1.0 - float(torch.load(saved, weights_only=True)["global_step"]) / (EPOCHS * BATCHES)


def compare(root: Path, unbroken: Path) -> list[str]:
    """Differences of a resumed run from the unbroken one, also in any row of metrics."""
    return [
        *differences(outcome(root), outcome(unbroken), "checkpoint"),
        *differences(metrics(root), metrics(unbroken), "metrics"),
    ]


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.checkpoints.faults")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(args)
    generator = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        os.environ["SLIFMR_CACHE"] = str(base / "cache")
        catalogue = write_catalogue(base / "catalogue")
        arguments = [*small_config(catalogue)]
        finish(start(arguments, base / "warm"))  # features into the cache
        counts: Counter[str] = Counter()
        killers, unbroken = [], []
        for minutes in ("0", "5"):  # a save after each step, or after each epoch
            options_of_run = [*arguments, "--last_checkpoint.minutes", minutes]
            unbroken.append(base / f"unbroken-{minutes}")
            status = finish(start(options_of_run, unbroken[-1]))
            assert status == 0, (unbroken[-1] / "log").read_text()
            killers.append(Killer(options_of_run, seconds_of(unbroken[-1])))
        while (left := options.kills - sum(killer.counts["kills"] for killer in killers)) > 0:
            kills = min(left, generator.randint(1, 3))
            moments = [generator.uniform(-0.2, 1) for _ in range(kills)]
            trial = counts["runs"]
            root = base / f"trial-{trial}"
            killers[trial % 2].run(root, moments)
            faults = compare(root, unbroken[trial % 2])
            counts["runs"] += 1
            counts["runs equal to the unbroken one"] += not faults
            for difference in faults[:5]:
                print(f"trial {trial}, killed at {moments}: {difference}")
    for killer in killers:
        counts.update(killer.counts)
    for name, count in sorted(counts.items()):
        print(f"{count:4d} {name}")
    return int(counts["runs"] != counts["runs equal to the unbroken one"])


def seconds_of(root: Path) -> float:
    """How long the only run below `root` trained."""
    (config,) = root.glob("demo/version_*/config.yaml")
    last = last_checkpoint(root)
    assert last is not None
    return last.stat().st_mtime - config.stat().st_mtime


def write_catalogue(root: Path) -> Path:
    """The small demo catalogue of the tests, with its encoders."""
    from slifmr_pl.demo.catalogue_files import write_demo_catalogue
    from slifmr_pl.demo.encoders import write_demo_encoders

    write_demo_catalogue(root, n_users=90, n_items=60, n_interactions=1200)
    write_demo_encoders(root / "encoders")
    return root


if __name__ == "__main__":
    sys.exit(main())
