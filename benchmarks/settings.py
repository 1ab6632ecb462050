"""What the command line decides about a run."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

CPU = torch.device("cpu")
Model = Literal["lightgcn", "knowledge", "full"]
MODELS: dict[Model, str] = {
    "lightgcn": "LightGCN",
    "knowledge": "LightGCN with a knowledge graph",
    "full": "SLIF-MR",
}


@dataclass(frozen=True)
class Settings:
    """Settings that all benchmarks share; a few are read by one alone.

    Attributes:
        data: Folder with amazon-book in KGAT's format; None generates a set of its size.
            `pictures`: folder of pictures; None draws some. `peers`: folder in MMRec's format; None
            generates one.
        threads: Of torch, and of every process that a benchmark starts.
        device: Where the work runs.
        repeats: Times that each variant is measured.
        quick: Tiny data and single calls: does everything run? The figures mean nothing.
        dim: Embedding size d.
        model: `step` and `growth`: LightGCN, the same with a knowledge graph, or the full model
            with two modalities as well; default LightGCN for a step, knowledge for growth.
        recbole_python: `step`: interpreter that can import RecBole.
        peers: `peers`: which of them, by their classes; none named takes all.
        mmrec: `peers`: a checkout of MMRec; None leaves it out.
        selfrec: `peers`: a checkout of SELFRec; None leaves it out.
        plot: `growth`: image file to draw into.
        encoder: `pictures`: model folder; None takes one with drawn weights.
    """

    data: Path | None = None
    threads: int = 2
    device: torch.device = CPU
    repeats: int = 7
    quick: bool = False
    dim: int = 64
    model: Model | None = None
    recbole_python: Path = Path(sys.executable)
    peers: tuple[str, ...] = ()
    mmrec: Path | None = None
    selfrec: Path | None = None
    plot: Path | None = None
    encoder: Path | None = None

    @property
    def least_seconds(self) -> float:
        """Least time of a measurement; shorter work is called several times."""
        return 0.0 if self.quick else 0.2

    def scaled(self, size: int, *, quick: int) -> int:
        """A size, or its stand-in for a quick run."""
        return quick if self.quick else size
