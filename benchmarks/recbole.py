"""RecBole's LightGCN on the same data, in a process of its own that works on request."""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import ours
from benchmarks.data import InteractionData
from benchmarks.harness import Prepared, Timing, UnavailableError
from benchmarks.report import REPOSITORY
from benchmarks.settings import Settings
from slifmr_pl.data.batches import TrainBatch

INSTALL = "pip install recbole there, or name its interpreter with --recbole-python"


def prepare(
    data: InteractionData,
    settings: Settings,
    tables: tuple[Tensor, Tensor],
    batches: Sequence[TrainBatch],
    steps: int,
) -> Prepared:
    """Starts the process and lets it load data and initial embeddings.

    Args:
        data: The interactions.
        settings: Of the run.
        tables: Initial user and item embeddings.
        batches: What the check trains on.
        steps: Steps of one run.

    Raises:
        UnavailableError: RecBole cannot be imported by that interpreter.
    """
    folder = tempfile.TemporaryDirectory()
    _write_inputs(Path(folder.name), data, settings, tables, batches)
    runner = _Runner(settings, Path(folder.name))

    def close() -> None:
        runner.close()
        folder.cleanup()

    def result() -> dict[str, Tensor]:
        runner.ask(work="check")
        with np.load(Path(folder.name) / "result.npz", allow_pickle=False) as arrays:
            return {name.replace("_", " "): torch.from_numpy(a) for name, a in arrays.items()}

    def run() -> Timing:
        return Timing(**runner.ask(work="train", steps=steps))

    try:
        runner.ask(work="load")
    except BaseException:
        close()
        raise
    return Prepared(run, result, close)


def _write_inputs(
    folder: Path,
    data: InteractionData,
    settings: Settings,
    tables: tuple[Tensor, Tensor],
    batches: Sequence[TrainBatch],
) -> None:
    arrays: dict[str, Any] = {
        "train": np.stack([data.train.users, data.train.items]),
        "test": np.stack([data.test.users, data.test.items]),
        "users": tables[0].numpy(),
        "items": tables[1].numpy(),
    }
    for number, batch in enumerate(batches):
        arrays[f"batch{number}"] = torch.stack(
            [batch.users, batch.positives, batch.negatives[:, 0]]
        ).numpy()
    np.savez(folder / "inputs.npz", **arrays)
    options = {
        "dim": settings.dim,
        "layers": ours.LAYERS,
        "l2": ours.L2,
        "learning_rate": ours.LEARNING_RATE,
        "batch_size": ours.batch_size(settings),
        "threads": settings.threads,
        "gpu": settings.device.type == "cuda",
    }
    (folder / "options.json").write_text(json.dumps(options), "utf-8")


class _Runner:
    """The other process: a line of JSON to it, a line back."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._errors = folder / "errors.txt"
        environment = os.environ | {
            "OMP_NUM_THREADS": str(settings.threads),
            "PYTHONPATH": str(REPOSITORY),
        }
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [str(settings.recbole_python), "-m", "benchmarks.recbole_runner", str(folder)],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def ask(self, **request: Any) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            process.wait()
            lines = self._errors.read_text("utf-8").strip().splitlines() or ["no message"]
            if any("No module named 'recbole" in text for text in lines):
                raise UnavailableError(f"{lines[-1]}; {INSTALL}")
            raise RuntimeError("RecBole's process failed:\n" + "\n".join(lines[-20:]))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
