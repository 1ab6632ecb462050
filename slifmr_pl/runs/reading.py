"""Reads the folder of a run: settings, record, results, and the metrics of its users."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from slifmr_pl.errors import RunError

Stage = Literal["test", "val"]

CONFIG_FILE = "config.yaml"
RECORD_FILE = "run.json"
USERS_FILES = {"test": "per_user.parquet", "val": "per_user-val.parquet"}
RESULT_FILES = {"test": "test.json", "val": "val.json"}
_TEST_AGAIN = {
    "test": "run `python lightning_cli.py test` with its config.yaml and best checkpoint",
    "val": "run `python lightning_cli.py validate` with its config.yaml, its best checkpoint and "
    "--per_user.validate true",
}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One run's result on one part of the data.

    Attributes:
        folder: The run's folder.
        stage: Which part.
        masks: Which known items were left out of the ranking.
        data: `fingerprint`, `parts`, `split` and `filters` of the data.
        metrics: All reported values, by `METRIC@K`.
        users: Raw ids of the n users who count.
        columns: Names of the c metrics of single users.
        values: Float64 ``[n, c]``.
        settings: The run's configuration as nested dictionaries; None without config.yaml.
    """

    folder: Path
    stage: Stage
    masks: str
    data: dict[str, Any]
    metrics: dict[str, float]
    users: pa.StringArray
    columns: tuple[str, ...]
    values: npt.NDArray[np.float64]
    settings: dict[str, Any] | None

    @property
    def seed(self) -> int | None:
        """The run's seed, where its configuration is there."""
        seed = (self.settings or {}).get("seed_everything")
        return seed if isinstance(seed, int) else None


def read_evaluation(folder: Path, stage: Stage) -> Evaluation:
    """Reads what `test` or `validate` left in a run's folder.

    Raises:
        RunError: A file is missing, damaged, of an older version, or of another evaluation.
    """
    result = read_result(folder, stage)
    table = _read_users(folder, stage)
    columns = tuple(table.column_names[2:])
    values = np.stack([table[name].to_numpy() for name in columns], axis=1)
    prefix = f"{stage}/"
    metrics = {
        name.removeprefix(prefix): value for name, value in result["metrics"].items() if "@" in name
    }
    evaluation = Evaluation(
        folder=folder,
        stage=stage,
        masks=result["masks"],
        data=result["data"],
        metrics=metrics,
        users=table["user_id"].combine_chunks(),
        columns=columns,
        values=values,
        settings=read_settings(folder) if (folder / CONFIG_FILE).is_file() else None,
    )
    _require_one_evaluation(evaluation)
    return evaluation


def read_result(folder: Path, stage: Stage) -> dict[str, Any]:
    """Reads `test.json` or `val.json`.

    Raises:
        RunError: It is missing, damaged, or of an older version.
    """
    require_folder(folder)
    path = folder / RESULT_FILES[stage]
    result = _read_json(path, ("checkpoint", "metrics", "masks", "data"), _TEST_AGAIN[stage])
    if not isinstance(result["data"], dict) or "parts" not in result["data"]:
        raise RunError(
            "the file does not say on which data",
            expected="a result that was measured with a SlifMrDataModule",
            fix=_TEST_AGAIN[stage],
            path=path,
        )
    return result


def read_record(folder: Path) -> dict[str, Any]:
    """Reads `run.json`.

    Raises:
        RunError: It is missing, damaged, or of an older version.
    """
    require_folder(folder)
    keys = ("outcome", "best", "data", "trainer", "environment", "git", "resumed_from")
    return _read_json(
        folder / RECORD_FILE, keys, "take a run that `fit` of this version made, or train again"
    )


def read_settings(folder: Path) -> dict[str, Any]:
    """Reads `config.yaml`.

    Raises:
        RunError: It is missing or damaged.
    """
    require_folder(folder)
    path = folder / CONFIG_FILE
    try:
        settings = yaml.safe_load(path.read_text("utf-8"))
        if not isinstance(settings, dict):
            raise ValueError(f"a {type(settings).__name__}")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunError(
            f"the run's configuration cannot be read ({type(error).__name__})",
            expected="settings that `fit` saved",
            fix="restore the file, or take another run",
            path=path,
        ) from error
    return settings


def require_folder(folder: Path) -> None:
    """Refuses what is no folder.

    Raises:
        RunError: If so.
    """
    if not folder.is_dir():
        raise RunError(
            "there is no such folder",
            expected="the folder of a run, for example runs/slifmr/version_0",
            fix="check the path; `fit` prints it",
            path=folder,
        )


def _read_json(path: Path, keys: tuple[str, ...], fix: str) -> dict[str, Any]:
    if not path.is_file():
        raise RunError(
            f"the run has no {path.name}", expected="a complete run", fix=fix, path=path.parent
        )
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"the file is no JSON ({error})", expected="a whole file", fix=fix, path=path
        ) from error
    absent = [key for key in keys if not isinstance(content, dict) or key not in content]
    if absent:
        raise RunError(
            f"there is no entry {', '.join(absent)}",
            expected="a file of this version of slifmr_pl",
            fix=fix,
            path=path,
        )
    result: dict[str, Any] = content
    return result


def _read_users(folder: Path, stage: Stage) -> pa.Table:
    path = folder / USERS_FILES[stage]
    if not path.is_file():
        raise RunError(
            f"the run has no {path.name}",
            expected="the metrics of its users",
            fix=_TEST_AGAIN[stage],
            path=folder,
        )
    try:
        table = pq.read_table(path)
        if table.column_names[:2] != ["user_id", "n_relevant"] or table.num_columns < 3:
            raise ValueError(f"columns {', '.join(table.column_names)}")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RunError(
            f"the metrics of the users cannot be read ({error})",
            expected="columns user_id, n_relevant and the metrics",
            fix=_TEST_AGAIN[stage],
            path=path,
        ) from error
    return table


def _require_one_evaluation(evaluation: Evaluation) -> None:
    """Refuses metrics of users that are not those of the reported means."""
    means = evaluation.values.mean(axis=0)
    for name, mean in zip(evaluation.columns, means, strict=True):
        reported = evaluation.metrics.get(name)
        if reported is None or not np.isclose(mean, reported, rtol=1e-9, atol=1e-12):
            raise RunError(
                f"its users have a mean {name} of {mean:.6f}, and "
                f"{RESULT_FILES[evaluation.stage]} reports {reported}",
                expected="both files of one evaluation",
                fix=_TEST_AGAIN[evaluation.stage],
                path=evaluation.folder / USERS_FILES[evaluation.stage],
            )
