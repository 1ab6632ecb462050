"""Reads the folder of a run: settings, record, results, and the metrics of its users."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from slifmr_pl.config.files import yaml_file
from slifmr_pl.errors import RunError
from slifmr_pl.runs.run_folders import CONFIG_FILE, RECORD_FILE, RESULT_FILES, USERS_FILES, Stage

Content = TypeVar("Content")

_RECORD_KEYS = ("outcome", "best", "data", "trainer", "environment", "git", "resumed_from")
_TEST_AGAIN = {
    "test": "run `slifmr test` with its config.yaml and best checkpoint",
    "val": "run `slifmr validate` with its config.yaml, its best checkpoint and "
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
    expected = "columns user_id, n_relevant and the metrics"
    table = _read(folder / USERS_FILES[stage], _parse_users, expected, _TEST_AGAIN[stage])
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

    def parse(path: Path) -> dict[str, Any]:
        result = _parse_json(path, ("checkpoint", "metrics", "masks", "data"))
        if not isinstance(result["data"], dict) or "parts" not in result["data"]:
            raise ValueError("it does not say on which data")
        return result

    expected = "a result of this version, measured with a RecommendationDataModule"
    return _read(folder / RESULT_FILES[stage], parse, expected, _TEST_AGAIN[stage])


def read_record(folder: Path) -> dict[str, Any]:
    """Reads `run.json`.

    Raises:
        RunError: It is missing, damaged, or of an older version.
    """
    return _read(
        folder / RECORD_FILE,
        lambda path: _parse_json(path, _RECORD_KEYS),
        "a record of this version",
        "take a run that `fit` of this version made, or train again",
    )


def read_settings(folder: Path) -> dict[str, Any]:
    """Reads `config.yaml`.

    Raises:
        RunError: It is missing or damaged.
    """
    fix = "restore the file, or take another run"
    return _read(folder / CONFIG_FILE, yaml_file, "settings that `fit` saved", fix)


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


def _read(path: Path, parse: Callable[[Path], Content], expected: str, fix: str) -> Content:
    """Reads a file in a run's folder.

    Raises:
        RunError: The folder or the file is missing, or `parse` refuses its content.
    """
    require_folder(path.parent)
    if not path.is_file():
        raise RunError(
            f"the run has no {path.name}", expected="a complete run", fix=fix, path=path.parent
        )
    try:
        return parse(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RunError(
            f"{path.name} cannot be read: {error}", expected=expected, fix=fix, path=path
        ) from error


def _parse_json(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    content = json.loads(path.read_text("utf-8"))
    absent = [key for key in keys if not isinstance(content, dict) or key not in content]
    if absent:
        raise ValueError(f"there is no entry {', '.join(absent)}")
    result: dict[str, Any] = content
    return result


def _parse_users(path: Path) -> pa.Table:
    table = pq.read_table(path)
    if table.column_names[:2] != ["user_id", "n_relevant"] or table.num_columns < 3:
        raise ValueError(f"it has the columns {', '.join(table.column_names)}")
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
