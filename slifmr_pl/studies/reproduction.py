"""Trains a recorded run again, tests it, and compares every number."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from slifmr_pl.config.conversion import flat
from slifmr_pl.errors import RunError
from slifmr_pl.runs.data_record import data_record
from slifmr_pl.runs.environment import environment, git_state
from slifmr_pl.runs.reading import read_record, read_result, read_settings
from slifmr_pl.runs.run_data import run_data
from slifmr_pl.runs.run_folders import CONFIG_FILE, RESULT_FILES
from slifmr_pl.studies.runs import exit_status, start

Verdict = Literal["bit-equal", "within tolerance", "differs"]

_RUNS = "*/version_*"


@dataclass(frozen=True)
class RecordedRun:
    """A finished run, and the test of its best checkpoint.

    Attributes:
        folder: Where it is.
        settings: config.yaml.
        record: run.json.
        result: test.json.
    """

    folder: Path
    settings: dict[str, Any]
    record: dict[str, Any]
    result: dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """Something that was not the same as when the run was recorded."""

    key: str
    recorded: Any
    now: Any


@dataclass(frozen=True)
class Agreement:
    """One number, as recorded and as measured again; None where it is missing."""

    metric: str
    recorded: float | None
    again: float | None
    verdict: Verdict


def read_recorded_run(folder: Path) -> RecordedRun:
    """Reads what can be reproduced.

    Raises:
        RunError: The run is incomplete, did not finish, or another checkpoint was tested.
    """
    settings, record = read_settings(folder), read_record(folder)
    if record["outcome"] != "finished" or record["best"] is None or record["data"] is None:
        raise RunError(
            f"the run is {record['outcome']}"
            if record["outcome"] != "finished"
            else "the record names no best checkpoint, or no data",
            expected="a run that finished, with a best checkpoint",
            fix="take another run, or resume it with --ckpt_path and take the resumed one",
            path=folder,
        )
    result = read_result(folder, "test")
    tested, best = Path(result["checkpoint"] or ""), Path(record["best"]["checkpoint"])
    if tested.name != best.name:
        raise RunError(
            f"{RESULT_FILES['test']} is of the checkpoint {tested.name or 'of no checkpoint'}",
            expected=f"the best checkpoint, {best.name}",
            fix="test the best checkpoint of the run again",
            path=folder,
        )
    return RecordedRun(folder, settings, record, result)


def differences(record: Mapping[str, Any]) -> list[Difference]:
    """What differs now from a run's record: versions, hardware and the state of the code.

    The number of threads does not count: the run is repeated with as many.
    """
    then = flat({**record["environment"], "git": record["git"] or {}})
    now = flat({**environment(), "git": git_state(Path.cwd()) or {}})
    keys = [key for key in dict.fromkeys([*then, *now]) if key != "hardware.threads"]
    changed = [key for key in keys if then.get(key) != now.get(key)]
    return [Difference(key, then.get(key), now.get(key)) for key in changed]


def require_same_data(run: RecordedRun, root: Path | None) -> None:
    """Refuses data that is not what the run was trained on.

    Args:
        run: The run.
        root: Where its data folder is now; None where the configuration says.

    Raises:
        RunError: They are missing or have changed.
        UserFacingError: They cannot be read with the run's configuration.
    """
    data = run_data(run.settings, run.folder, root)
    data.prepare_data()
    now, recorded = data_record(data), run.record["data"]
    if now["fingerprint"] == recorded["fingerprint"]:
        return
    parts = recorded["parts"]
    changed = [name for name in parts if now["parts"][name] != parts[name]]
    raise RunError(
        f"the data has changed: {', '.join(changed) or 'the knowledge graph or item features'} "
        f"(fingerprint {now['fingerprint'][:12]}, recorded {recorded['fingerprint'][:12]})",
        expected="the data that the run was trained on",
        fix="restore it, or give its folder with --data.root PATH",
        path=data.root,
    )


def train_and_test_again(run: RecordedRun, out: Path, root: Path | None) -> Path:
    """Runs `fit` and `test` in processes of their own, with as many threads as recorded.

    Args:
        run: The run.
        out: Folder that gets NAME/version_N, as any run.
        root: Where the data folder is now; None where the configuration says.

    Returns:
        The new run's folder.

    Raises:
        RunError: One of the two failed; it has said why.
    """
    before = set(out.glob(_RUNS))
    arguments = ["--config", str(run.folder / CONFIG_FILE), "--ckpt_path", "null"]
    arguments += ["--trainer.default_root_dir", str(out)]
    arguments += [] if root is None else ["--data.root", str(root)]
    threads = run.record["environment"]["hardware"]["threads"]
    _call(["fit", *arguments], threads)
    (folder,) = set(out.glob(_RUNS)) - before
    best = folder / read_record(folder)["best"]["checkpoint"]
    arguments = ["--config", str(folder / CONFIG_FILE), "--ckpt_path", str(best)]
    _call(["test", *arguments, "--data.test_masks", run.result["masks"]], threads)
    return folder


def agreements(run: RecordedRun, folder: Path, tolerance: float) -> list[Agreement]:
    """Compares the best validation score and every test metric of two runs.

    Args:
        run: As recorded.
        folder: The run that repeated it.
        tolerance: Relative difference that still counts as agreement.
    """
    then, now = (
        {f"best {record['best']['monitor']}": record["best"]["score"], **result["metrics"]}
        for record, result in (
            (run.record, run.result),
            (read_record(folder), read_result(folder, "test")),
        )
    )
    pairs = {name: (then.get(name), now.get(name)) for name in {**then, **now}}
    return [Agreement(name, *pair, _verdict(*pair, tolerance)) for name, pair in pairs.items()]


def _verdict(recorded: float | None, again: float | None, tolerance: float) -> Verdict:
    if recorded is None or again is None:
        return "differs"
    if recorded == again or (math.isnan(recorded) and math.isnan(again)):
        return "bit-equal"
    close = math.isclose(recorded, again, rel_tol=tolerance)
    return "within tolerance" if close else "differs"


def _call(arguments: list[str], threads: int) -> None:
    sys.stdout.flush()  # what was printed so far comes before what the process prints
    status = exit_status(start(arguments, threads))
    if status:
        raise RunError(
            f"{arguments[0]} ended with status {status}; see above",
            expected="the run's configuration to run here",
            fix="mend what it says, or use the versions that run.json names",
        )
