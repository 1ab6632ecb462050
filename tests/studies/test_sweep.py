"""Sweeps of EASE on the demo catalogue, and of a stand-in that only writes metrics."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution

from slifmr_pl.cli import main
from slifmr_pl.errors import RunError
from slifmr_pl.studies import sweep as sweeping
from slifmr_pl.studies.runs import Job
from slifmr_pl.studies.sweep import Sweep, search
from tests.studies.processes import in_this_process as in_this_process

ROOT = Path(__file__).parents[2]
CONFIGS = [str(ROOT / "configs" / name) for name in ("demo.yaml", "model/ease.yaml")]


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text("model.l2: {low: 1.0e-1, high: 1.0e+4, log: true}\n")
    return path


@pytest.fixture
def arguments(space: Path, catalogue: Path, tmp_path: Path) -> Callable[..., list[str]]:
    def make(*more: str) -> list[str]:
        settings = [f"data.root={catalogue}", "trainer.accelerator=cpu"]
        return [
            "sweep",
            *CONFIGS,
            f"--space={space}",
            f"--out={tmp_path / 'out'}",
            *(f"--set={setting}" for setting in settings),
            *more,
        ]

    return make


@pytest.mark.usefixtures("in_this_process")
def test_sweep_goes_on_finds_the_best_and_reads_the_test_part_once(
    arguments: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert main(arguments("--trials=2")) == 0
    first = json.loads((out / "trials.json").read_text())
    assert main(arguments("--trials=4")) == 0
    trials = json.loads((out / "trials.json").read_text())
    assert sorted(trial["trial"] for trial in trials) == [0, 1, 2, 3]
    assert {t["trial"]: t["params"] for t in first}.items() <= {
        t["trial"]: t["params"] for t in trials
    }.items()
    assert len({trial["params"]["model.l2"] for trial in trials}) == 4
    assert trials[0]["value"] == max(trial["value"] for trial in trials)
    # Until then nothing of the test part is anywhere.
    assert not list(out.rglob("test.json"))
    assert not list(out.rglob("per_user*.parquet"))
    capsys.readouterr()

    assert main(arguments("--trials=4", "--final", "--seeds", "1", "2")) == 0
    assert "Test, 2 seeds" in capsys.readouterr().out
    result = json.loads((out / "final.json").read_text())
    assert result["params"] == trials[0]["params"]
    values = [
        json.loads((Path(run) / "test.json").read_text())["metrics"]["test/recall@20"]
        for run in result["runs"]
    ]
    assert result["metrics"]["recall@20"]["mean"] == pytest.approx(sum(values) / 2)
    group = ",".join(result["runs"])
    assert main(["compare", f"--group=A={group}", f"--group=B={group}", "--resamples=100"]) == 0
    # As if another trial had been the best one by then.
    (read,) = (out / "final").iterdir()
    read.rename(read.with_name("trial0099"))
    assert main(arguments("--trials=4", "--final", "--seeds", "1")) == 2
    assert "the test part was read for trial0099" in capsys.readouterr().err


@pytest.mark.usefixtures("in_this_process")
def test_best_configuration_trains_by_itself(
    arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    assert main(arguments("--trials=1")) == 0
    (trial,) = json.loads((tmp_path / "out" / "trials.json").read_text())
    config = tmp_path / "out" / "best.yaml"
    runs = f"--trainer.default_root_dir={tmp_path / 'again'}"
    assert main(["fit", f"--config={config}", runs, "--name=best"]) == 0
    record = json.loads((tmp_path / "again" / "best" / "version_0" / "run.json").read_text())
    assert record["best"]["score"] == trial["value"]


@pytest.mark.usefixtures("in_this_process")
def test_trials_of_another_space_are_not_mixed(
    arguments: Callable[..., list[str]], space: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments("--trials=1")) == 0
    space.write_text("model.l2: {low: 1.0, high: 2.0}\n")
    assert main(arguments("--trials=2")) == 2
    assert "the trials there are of other space" in capsys.readouterr().err


@pytest.mark.usefixtures("in_this_process")
def test_failure_before_the_first_validation_ends_the_sweep(
    arguments: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments("--trials=3", "--set=data.filters.k_core=1000")) == 2
    assert "no interactions are left" in capsys.readouterr().err
    assert len(list((tmp_path / "out" / "trials").iterdir())) == 1
    # It was not the trial's fault: the sweep begins when the reason is gone.
    assert main(arguments("--trials=1")) == 0


def test_absent_configuration_is_refused(space: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sweep", CONFIGS[0], "absent.yaml", f"--space={space}"])
    assert "there is no file absent.yaml" in capsys.readouterr().err


def test_test_metrics_cannot_be_searched_for(
    arguments: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments("--metric=test/recall@20"))
    assert "no metric of the validation part" in capsys.readouterr().err


# A process that writes what `fit` would, an epoch every tenth of a second.
STAND_IN = """
import json, sys, time
from pathlib import Path
run, level, epochs, status = Path(sys.argv[1]), *map(float, sys.argv[2:5])
run.mkdir(parents=True)
keys = ("best", "data", "trainer", "environment", "git", "resumed_from")
record = {"outcome": "failed", "error": sys.argv[5], **dict.fromkeys(keys)}
(run / "run.json").write_text(json.dumps(record))
with (run / "metrics.csv").open("w", buffering=1) as file:
    file.write("epoch,val/recall@20\\n")
    for epoch in range(int(epochs)):
        file.write(f"{epoch},{level}\\n")
        time.sleep(0.1)
raise SystemExit(int(status))
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """A sweep whose trials are stand-ins: good ones, then one that is worse and long."""
    monkeypatch.setattr(sweeping, "_POLL", 0.02)
    monkeypatch.setattr(sweeping, "_STARTUP", 1)
    monkeypatch.setattr(sweeping, "_WARMUP", 1)
    return Sweep(
        configs=(),
        settings={},
        space={"a": FloatDistribution(0, 1)},
        metric="val/recall@20",
        out=tmp_path,
        storage=tmp_path / "journal.log",
        threads=1,
        seed=1,
    )


def starts(
    monkeypatch: pytest.MonkeyPatch,
    *arguments: tuple[float, int, int],
    error: str = "DivergenceError",
) -> None:
    """Makes the next trials stand-ins with these levels, epochs and exit statuses."""
    rest = list(arguments)

    def start(job: Job, threads: int) -> "subprocess.Popen[bytes]":
        words = [str(job.folder / "run" / "version_0"), *map(str, rest.pop(0)), error]
        return subprocess.Popen([sys.executable, "-c", STAND_IN, *words])

    monkeypatch.setattr(sweeping, "start_fit", start)


def test_trial_worse_than_the_others_is_stopped_and_diverged_ones_count(
    stand_in: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One that diverges in its fourth epoch, one that diverges and was worse and is pruned first.
    starts(monkeypatch, (0.5, 4, 2), (0.5, 3, 2))
    records = search(stand_in, 2, jobs=1)
    assert [record["state"] for record in records] == ["diverged", "diverged"]
    assert {record["epochs"] for record in records} == {4, 3}
    assert not (stand_in.out / "best.yaml").exists()


def test_trial_worse_than_a_completed_one_is_stopped(
    stand_in: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = sweeping._study(stand_in)
    completed = study.ask(dict(stand_in.space))
    for epoch in range(100):
        completed.report(0.9, epoch)
    study.tell(completed, 0.9)
    starts(monkeypatch, (0.1, 600, 0))
    records = sweeping._records(study, stand_in)
    monkeypatch.setattr(sweeping, "_write_best", lambda *_: None)  # there is no configuration
    records = search(stand_in, 2, jobs=1)
    assert [record["state"] for record in records] == ["complete", "pruned"]
    assert records[1]["epochs"] < 50


def test_interrupted_trial_is_not_counted_and_its_settings_come_again(
    stand_in: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts(monkeypatch, (0.5, 2, 143), error="StoppedError")
    with pytest.raises(RunError, match="status 143"):
        search(stand_in, 1, jobs=1)
    study = sweeping._study(stand_in)
    (interrupted,) = study.trials[:1]
    assert sweeping._records(study, stand_in) == []
    killed = study.ask(dict(stand_in.space))  # takes up the settings, and stays without an end
    assert killed.params == interrupted.params
    starts(monkeypatch, (0.5, 2, 2))
    (record,) = search(replace(stand_in, seed=7), 1, jobs=1)
    assert record["params"] == interrupted.params


def test_trial_that_fails_is_tried_once_more_and_the_sweep_goes_on(
    stand_in: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts(monkeypatch, (0.5, 2, 1), (0.5, 3, 1), (0.25, 1, 2), error="OutOfMemoryError")
    with pytest.raises(IndexError):  # the third one is put back as well, and there is no fourth
        search(stand_in, 2, jobs=1)
    study = sweeping._study(stand_in)
    first, again, other, *_ = study.trials
    assert first.params == again.params != other.params
    (record,) = sweeping._records(study, stand_in)
    assert (record["trial"], record["state"], record["epochs"]) == (1, "failed", 3)


def test_sweep_that_another_process_is_at_is_refused(stand_in: Sweep) -> None:
    study = sweeping._study(stand_in)
    trial = study.ask(dict(stand_in.space))
    trial.set_user_attr("process", [socket.gethostname(), os.getpid()])
    with pytest.raises(RunError, match=f"process {os.getpid()} is at trial 0"):
        search(stand_in, 1, jobs=1)
    assert study.trials[0].state.name == "RUNNING"


def test_settings_that_cannot_begin_stop_the_sweep_only_where_none_have_worked(
    stand_in: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts(monkeypatch, (0.5, 0, 2), error="ConfigError")
    with pytest.raises(RunError, match="status 2"):
        search(stand_in, 1, jobs=1)
    # Once more they fail, and count; then others fail twice, and those after them go on.
    starts(monkeypatch, (0.5, 0, 2), (0.5, 0, 2), (0.5, 0, 2), error="ConfigError")
    lines: list[str] = []
    records = search(stand_in, 2, jobs=1, say=lines.append)
    assert [record["state"] for record in records] == ["failed", "failed"]
    assert [line.partition("  ")[0].partition(",")[0] for line in lines] == ["1/2", "2/2"]
    assert [line.split("  ")[1:3] for line in lines] == [
        ["trial 1", "failed"],
        ["trial 3", "failed"],
    ]


def test_space_can_be_mended_before_anything_was_found(
    stand_in: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts(monkeypatch, (0.5, 0, 2), error="ConfigError")
    with pytest.raises(RunError, match="status 2"):
        search(stand_in, 1, jobs=1)
    mended = replace(stand_in, space={"a": FloatDistribution(5, 6)})
    starts(monkeypatch, (0.5, 2, 2))
    (record,) = search(mended, 1, jobs=1)
    assert 5 <= record["params"]["a"] <= 6
    with pytest.raises(RunError, match="trials there are of other space"):
        search(stand_in, 2, jobs=1)


def test_being_stopped_is_no_failure(stand_in: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    starts(monkeypatch, (0.5, 2, 143), error="StoppedError")
    with pytest.raises(RunError, match="status 143"):
        search(stand_in, 1, jobs=1)
    starts(monkeypatch, (0.5, 2, 1), (0.5, 3, 1), error="OutOfMemoryError")
    (record,) = search(stand_in, 1, jobs=1)
    assert (record["trial"], record["state"]) == (2, "failed")
