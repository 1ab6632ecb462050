"""How features are computed: nothing of it changes them."""

import os
from dataclasses import dataclass
from typing import Literal

from feature_extraction.errors import FeatureError

_WORKER_ITEMS = 1000  # starting a worker takes longer than to prepare fewer items without


@dataclass(frozen=True)
class ExtractionConfig:
    """How to compute features; changes none of them.

    Attributes:
        batch_size: Images or texts that the encoder takes at once.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        devices: GPUs, or processes on the CPU, that share the items out.
        workers: Processes that decode images and tokenise texts beside each encoder; 0 does it
            in between, None chooses.
        strict: Stop at the first input that cannot be used, instead of masking its item.
        progress: Draw a progress bar on standard error.

    Raises:
        FeatureError: A number is out of range.
    """

    batch_size: int = 64
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    workers: int | None = None
    strict: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("devices", 1), ("workers", 0)):
            value = getattr(self, name)
            whole = isinstance(value, int) and value >= least
            if not whole and (value is not None or name != "workers"):
                raise FeatureError(
                    f"the extraction's {name} is {value}",
                    expected=f"a whole number of at least {least}",
                    fix=f"set data.extraction.{name}, or --{name.replace('_', '-')} of "
                    "`python -m feature_extraction`",
                )

    def workers_for(self, items: int) -> int:
        """Return the number of workers for so many items."""
        if self.workers is not None:
            return self.workers
        return 0 if items < _WORKER_ITEMS else max(1, min(8, (os.cpu_count() or 1) // 2))
