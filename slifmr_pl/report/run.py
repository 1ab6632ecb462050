"""The files of a run, as far as they are there; what is missing has its reason."""

import csv
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from slifmr_pl.errors import RunError, UserFacingError
from slifmr_pl.runs.reading import (
    Evaluation,
    read_evaluation,
    read_record,
    read_settings,
    require_folder,
)
from slifmr_pl.runs.run_folders import CONFIG_FILE, METRICS_FILE, RECORD_FILE

Part = TypeVar("Part")
Series = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Run:
    """What a run left behind.

    Attributes:
        folder: The run's folder.
        name: As configured, or else the folder's name.
        settings: config.yaml.
        record: run.json.
        evaluation: test.json and per_user.parquet.
        history: Epochs and values of everything that was logged, by name.
        missing: Why a part is not there, by its name.
    """

    folder: Path
    name: str
    settings: dict[str, Any] | None
    record: dict[str, Any] | None
    evaluation: Evaluation | None
    history: dict[str, Series]
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def monitor(self) -> str:
        """The validation metric that chose the best epoch."""
        best = (self.record or {}).get("best") or {}
        return best.get("monitor") or "val/recall@20"

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the best value of the monitored metric that was logged."""
        epochs, values = self.history.get(self.monitor, ([], []))
        if not values:
            return None
        mode = ((self.settings or {}).get("checkpoint") or {}).get("mode", "max")
        best = min(values) if mode == "min" else max(values)
        return int(epochs[values.index(best)])


def read_run(folder: Path) -> Run:
    """Reads what is there.

    Raises:
        RunError: There is no such folder, or nothing of a run in it.
    """
    require_folder(folder)
    missing: dict[str, str] = {}

    def part(name: str, read: Callable[[], Part]) -> Part | None:
        try:
            return read()
        except UserFacingError as error:
            missing[name] = reason(error)
            return None

    settings = part("settings", lambda: read_settings(folder))
    record = part("record", lambda: read_record(folder))
    evaluation = part("test", lambda: read_evaluation(folder, "test"))
    history = part("history", lambda: read_history(folder / METRICS_FILE))
    if settings is None and record is None and evaluation is None and history is None:
        raise RunError(
            "the folder holds nothing of a run",
            expected=f"{CONFIG_FILE}, {RECORD_FILE}, {METRICS_FILE}: the folder that `fit` made",
            fix="give RUN/version_N, not the folder above it",
            path=folder,
        )
    name = str((settings or {}).get("name") or folder.resolve().parent.name)
    return Run(folder, name, settings, record, evaluation, history or {}, missing)


def read_history(path: Path) -> dict[str, Series]:
    """Epochs and values of each column of a metrics file.

    Raises:
        RunError: It is missing or damaged.
    """
    series: dict[str, Series] = defaultdict(lambda: ([], []))
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                epoch = float(row.pop("epoch"))
                for name, value in row.items():
                    if value and name != "step":
                        series[name][0].append(epoch)
                        series[name][1].append(float(value))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(
            f"the history of the training cannot be read ({type(error).__name__})",
            expected="what the CSV logger of `fit` writes",
            fix="train with a logger; `--trainer.logger false` keeps no history",
            path=path,
        ) from error
    return dict(series)


def reason(error: UserFacingError) -> str:
    """An error as a remark: all of its lines, in one."""
    return "; ".join(line.strip() for line in str(error).splitlines())
