import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from slifmr_pl.cli import main
from slifmr_pl.errors import RunError
from slifmr_pl.runs.reading import read_evaluation
from slifmr_pl.studies.comparable import Group
from slifmr_pl.studies.comparison import CONFIDENCE, Comparison, compare
from slifmr_pl.studies.comparison_tables import print_comparison
from tests.studies.run_folders import write_run

USERS = 120
METRICS = ("recall@5", "ndcg@5")


def values_of(rng: np.random.Generator, gain: float = 0.0) -> dict[str, np.ndarray]:
    return {name: np.clip(rng.beta(1, 3, USERS) + gain, 0, 1) for name in METRICS}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two seeds of a baseline, two of a better model, and one of the baseline's twin."""
    root = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(1)
    base = [values_of(rng) for _ in range(2)]
    better = [
        {name: np.clip(v + rng.normal(0.05, 0.05, USERS), 0, 1) for name, v in run.items()}
        for run in base
    ]
    folders = {}
    for name, runs in (("base", base), ("better", better)):
        for seed, values in enumerate(runs, start=1):
            settings = {"model": {"dim": 8 if name == "base" else 16}}
            folder = root / name / str(seed)
            folders[f"{name}{seed}"] = write_run(folder, values, seed=seed, settings=settings)
    folders["twin"] = write_run(root / "twin", base[0])
    return folders


def groups_of(folders: dict[str, Path], **groups: list[str]) -> list[Group]:
    return [
        Group(name, tuple(read_evaluation(folders[run], "test") for run in runs))
        for name, runs in groups.items()
    ]


@pytest.fixture(scope="module")
def single(folders: dict[str, Path]) -> Comparison:
    groups = groups_of(folders, A=["base1"], B=["better1"], C=["twin"])
    return compare(groups, resamples=2000, seed=5)


def test_means_and_intervals_are_those_of_the_users(
    folders: dict[str, Path], single: Comparison
) -> None:
    values = read_evaluation(folders["better1"], "test").values
    for column, metric in enumerate(METRICS):
        estimate = single.estimates["B"][metric]
        assert estimate.mean == pytest.approx(values[:, column].mean())
        error = stats.sem(values[:, column]) * stats.norm.ppf(0.5 + CONFIDENCE / 2)
        assert estimate.low == pytest.approx(estimate.mean - error, abs=0.1 * error)
        assert estimate.high == pytest.approx(estimate.mean + error, abs=0.1 * error)
        assert (estimate.std, estimate.runs) == (None, (estimate.mean,))


def test_metrics_of_all_users_together_have_no_interval(single: Comparison) -> None:
    coverage = single.estimates["A"]["coverage@5"]
    assert (coverage.mean, coverage.low, coverage.high) == (0.5, None, None)
    assert "coverage@5" not in single.contrasts["B"]


def test_contrasts_are_paired(folders: dict[str, Path], single: Comparison) -> None:
    one, two = (read_evaluation(folders[run], "test").values for run in ("base1", "better1"))
    for column, metric in enumerate(METRICS):
        contrast = single.contrasts["B"][metric]
        difference = two[:, column] - one[:, column]
        assert contrast.difference == pytest.approx(difference.mean())
        assert contrast.relative == pytest.approx(difference.mean() / one[:, column].mean())
        assert contrast.low < contrast.difference < contrast.high
        # The spread of paired differences, much narrower than that of either run.
        width = 2 * stats.sem(difference) * stats.norm.ppf(0.5 + CONFIDENCE / 2)
        assert contrast.high - contrast.low == pytest.approx(width, rel=0.1)
        p_value = stats.ttest_rel(two[:, column], one[:, column]).pvalue
        assert contrast.t_test.p == pytest.approx(p_value)
        p_value = stats.wilcoxon(difference, method="approx").pvalue
        assert contrast.wilcoxon.p == pytest.approx(p_value)
        assert contrast.randomisation.p == 1 / 2001
        assert contrast.over_runs is None


def test_equal_runs_do_not_differ(single: Comparison) -> None:
    for contrast in single.contrasts["C"].values():
        assert (contrast.difference, contrast.low, contrast.high) == (0, 0, 0)
        assert contrast.t_test.p == contrast.randomisation.p == 1.0


def test_correction_counts_all_metrics_and_groups(single: Comparison) -> None:
    assert single.tests == 4
    raw = [c.randomisation.p for group in single.contrasts.values() for c in group.values()]
    assert raw == [1 / 2001, 1 / 2001, 1.0, 1.0]
    corrected = [c.randomisation.holm for g in single.contrasts.values() for c in g.values()]
    assert corrected == pytest.approx([4 / 2001, 4 / 2001, 1.0, 1.0])


def test_groups_average_seeds_and_tell_their_spread(folders: dict[str, Path]) -> None:
    groups = groups_of(folders, base=["base1", "base2"], better=["better1", "better2"])
    comparison = compare(groups, ["ndcg@5"], resamples=500)
    runs = [[run.metrics["ndcg@5"] for run in group.runs] for group in groups]
    estimate = comparison.estimates["better"]["ndcg@5"]
    assert estimate.mean == pytest.approx(np.mean(runs[1]))
    assert estimate.std == pytest.approx(np.std(runs[1], ddof=1))
    assert estimate.runs == tuple(runs[1])
    contrast = comparison.contrasts["better"]["ndcg@5"]
    users = [np.mean([run.values[:, 1] for run in group.runs], axis=0) for group in groups]
    assert contrast.t_test.p == pytest.approx(stats.ttest_rel(users[1], users[0]).pvalue)
    assert contrast.over_runs is not None
    expected = stats.ttest_ind(runs[1], runs[0], equal_var=False).pvalue
    assert contrast.over_runs.p == pytest.approx(expected)
    assert comparison.settings == {"model.dim": {"base": 8, "better": 16}}
    assert comparison.tests == 1


def test_same_seed_gives_the_same_numbers(folders: dict[str, Path]) -> None:
    groups = groups_of(folders, A=["base1"], B=["better1"])
    one, same, other = (compare(groups, resamples=200, seed=seed) for seed in (1, 1, 2))
    assert asdict(one) == asdict(same)
    assert one.estimates != other.estimates


def test_metric_that_is_not_everywhere_is_refused_or_left_out(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    wider = write_run(
        tmp_path / "wider", values_of(np.random.default_rng(3)) | {"map@5": np.ones(USERS)}
    )
    groups = groups_of(folders | {"wider": wider}, A=["base1"], B=["wider"])
    assert compare(groups, resamples=100).left_out == ["map@5"]
    with pytest.raises(RunError, match="not all runs have map@5"):
        compare(groups, ["map@5"])
    with pytest.raises(RunError, match=r"not all runs have recal@5[\s\S]*did you mean recall@5"):
        compare(groups, ["recal@5"])
    only = compare(groups, ["coverage@5"], resamples=100)
    assert (list(only.estimates["A"]), only.contrasts) == (["coverage@5"], {})


def test_tables_show_every_number(single: Comparison) -> None:
    console = Console(width=200)
    with console.capture() as capture:
        print_comparison(single, console)
    printed = capture.get()
    estimate, contrast = single.estimates["B"]["recall@5"], single.contrasts["B"]["recall@5"]
    assert f"{estimate.mean:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]" in printed
    assert f"{contrast.difference:+.4f} [{contrast.low:+.4f}, {contrast.high:+.4f}]" in printed
    for expected in ("B − A", "C − A", "model.dim", "120 users", "corrected for 4 tests (Holm)"):
        assert expected in printed


def test_command_prints_tables_and_writes_json(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "comparison.json"
    groups = [
        f"--group={name}={folders[f'{name}1']},{folders[f'{name}2']}" for name in ("base", "better")
    ]
    arguments = [*groups, "--metrics", "recall@5", "--resamples", "300", "--json", str(path)]
    assert main(["compare", *arguments]) == 0
    assert "better − base" in capsys.readouterr().out
    record = json.loads(path.read_text())
    assert list(record["contrasts"]) == ["better"]
    assert list(record["contrasts"]["better"]) == ["recall@5"]
    assert [run["seed"] for run in record["runs"]["base"]] == [1, 2]


def test_comparison_imports_no_plugin_of_the_runs(tmp_path: Path) -> None:
    values = {"recall@5": np.array([0.0, 0.5, 1.0])}
    plugins = {"plugins": ["no_such_package"]}
    runs = [str(write_run(tmp_path / name, values, settings=plugins)) for name in "ab"]
    assert main(["compare", *runs, "--resamples", "100"]) == 0


def test_command_names_single_runs_by_letters(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(folders[name]) for name in ("base1", "better1", "twin")]
    assert main(["compare", *runs, "--resamples", "100"]) == 0
    assert "C − A" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["base1"], "the groups A"),
        ([], "no runs"),
        (["base1", "nowhere"], "no such folder"),
        (["base1", "better1", "--stage", "val"], "the run has no val.json"),
    ],
)
def test_command_ends_with_found_expected_and_fix(
    folders: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    named = [str(folders.get(argument, argument)) for argument in arguments]
    assert main(["compare", *named]) == 2
    printed = capsys.readouterr().err
    assert expected in printed
    assert "fix:" in printed


@pytest.mark.parametrize(
    "arguments", [["--group", "A"], ["--group", "=a,b"], ["--resamples", "3"], ["--seed", "-1"]]
)
def test_wrong_option_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["compare", *arguments])
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err
