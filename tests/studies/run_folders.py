"""Run folders with chosen numbers in them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

from slifmr_pl.runs.atomic_files import write_json

PARTS = {name: f"hash of {name}" for name in ("users", "items", "train", "valid", "test")}
SPLIT = {"strategy": "ratio", "ratios": [0.8, 0.1, 0.1], "seed": 2026}


def write_run(
    folder: Path,
    metrics: Mapping[str, NDArray[np.float64]],
    *,
    seed: int = 1,
    masks: str = "train+valid",
    parts: Mapping[str, str] = PARTS,
    split: Mapping[str, Any] = SPLIT,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """What `fit` and `test` leave behind, as far as a comparison reads it.

    Args:
        folder: Where to.
        metrics: Values of the users, by metric.
        seed: Of the run.
        masks: Of the test.
        parts: Fingerprints.
        split: Its configuration.
        settings: More of config.yaml.
    """
    users = [f"u{row:03}" for row in range(len(next(iter(metrics.values()))))]
    folder.mkdir(parents=True)
    config = {"seed_everything": seed, "data": {"seed": seed}, "model": {"dim": 8}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config | dict(settings or {})))
    n_relevant = np.ones(len(users), np.int64)
    pq.write_table(
        pa.table({"user_id": users, "n_relevant": n_relevant, **metrics}),
        folder / "per_user.parquet",
    )
    means = {f"test/{name}": float(values.mean()) for name, values in metrics.items()}
    result = {
        "checkpoint": "checkpoints/epoch.ckpt",
        "masks": masks,
        "data": {"fingerprint": "", "parts": parts, "split": split, "filters": {"k_core": 0}},
        "metrics": {**means, "test/coverage@5": 0.5, "test/n_users": float(len(users))},
    }
    write_json(folder / "test.json", result)
    return folder
