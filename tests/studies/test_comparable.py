from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slifmr_pl.errors import RunError
from slifmr_pl.runs.reading import Evaluation, read_evaluation
from slifmr_pl.studies.comparable import (
    Group,
    differing_settings,
    require_groups,
    require_one_configuration,
    require_same_evaluation,
)
from tests.studies.run_folders import PARTS, SPLIT, write_run

Runs = Callable[..., Evaluation]


@pytest.fixture
def run(tmp_path: Path) -> Runs:
    def make(name: str, users: int = 4, **options: Any) -> Evaluation:
        folder = write_run(tmp_path / name, {"recall@5": np.linspace(0, 1, users)}, **options)
        return read_evaluation(folder, "test")

    return make


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"parts": PARTS | {"test": "?"}}, "different data: test"),
        ({"parts": PARTS | {"items": "?", "train": "?"}}, "different data: items, train"),
        (
            {"parts": PARTS | {"train": "?"}, "split": SPLIT | {"seed": 7}},
            r"different data: train \(split.seed 2026 and 7\)",
        ),
        ({"masks": "train"}, "mask different items: train\\+valid, and train"),
        ({"users": 3}, "different users: 4, and 3"),
    ],
)
def test_runs_that_answer_different_questions_are_refused(
    run: Runs, options: dict[str, Any], expected: str
) -> None:
    require_same_evaluation([run("a"), run("same", seed=2)])
    with pytest.raises(RunError, match=expected):
        require_same_evaluation([run("b"), run("other", **options)])


def test_group_is_one_configuration_with_different_seeds(run: Runs) -> None:
    one = run("one", seed=1)
    require_one_configuration(Group("A", (one,)))
    require_one_configuration(Group("A", (one, run("two", seed=2))))
    with pytest.raises(RunError, match="group A has the seeds 1, 1"):
        require_one_configuration(Group("A", (one, run("again", seed=1))))
    other = run("other", seed=2, settings={"model": {"dim": 16}})
    with pytest.raises(RunError, match=r"differ in 1 settings, first model\.dim: 8 and 16"):
        require_one_configuration(Group("A", (one, other)))
    bare = run("bare", seed=2)
    (bare.folder / "config.yaml").unlink()
    bare = read_evaluation(bare.folder, "test")
    with pytest.raises(RunError, match=r"no config\.yaml"):
        require_one_configuration(Group("A", (one, bare)))


def test_places_and_drawing_do_not_make_another_configuration(run: Runs) -> None:
    settings = {
        "name": "elsewhere",
        "trainer": {"default_root_dir": "there", "logger": {"save_dir": "there"}},
    }
    runs = run("one"), run("two", seed=2, settings=settings)
    require_one_configuration(Group("A", runs))
    assert differing_settings([Group("A", runs[:1]), Group("B", runs[1:])]) == {}


def test_data_of_a_class_of_ones_own_are_compared_by_their_settings(run: Runs) -> None:
    def data(name: str, **init_args: Any) -> dict[str, Any]:
        return {"data": {"class_path": f"my_package.{name}", "init_args": init_args}}

    one = run("one", settings=data("Mine", root="here", seed=1, negatives=4))
    two = run("two", seed=2, settings=data("Mine", root="there", seed=2, negatives=4))
    require_one_configuration(Group("A", (one, two)))
    other = run("other", settings=data("Theirs", root="here", negatives=8))
    assert differing_settings([Group("A", (one,)), Group("B", (other,))]) == {
        "data": {"A": "Mine", "B": "Theirs"},
        "data.negatives": {"A": 4, "B": 8},
    }


def test_settings_that_differ_between_groups_are_told(run: Runs) -> None:
    one, two = run("one"), run("two", settings={"model": {"dim": 16}, "loss": {"l2": 0.1}})
    assert differing_settings([Group("A", (one,)), Group("B", (two,))]) == {
        "model.dim": {"A": 8, "B": 16},
        "loss.l2": {"A": None, "B": 0.1},
    }


def test_models_are_named_first_and_settings_of_one_alone_are_left_out(run: Runs) -> None:
    ease = {"class_path": "slifmr_pl.models.ease.Ease", "init_args": {"l2": 7.0, "ks": [5]}}
    knn = {"class_path": "slifmr_pl.models.item_knn.ItemKnn", "init_args": {"ks": [20]}}
    runs = {
        "A": run("a", settings={"data": {"negatives": 4}}),  # SLIF-MR, which has no class_path
        "B": run("b", settings={"model": ease}),
        "C": run("c", settings={"model": knn}),
    }
    groups = [Group(name, (one,)) for name, one in runs.items()]
    differing = differing_settings(groups)
    assert list(differing) == ["model", "data.negatives"]
    assert differing["model"] == {"A": "SlifMrModule", "B": "Ease", "C": "ItemKnn"}
    assert differing_settings(groups[1:]) == {
        "model": {"B": "Ease", "C": "ItemKnn"},
        "model.ks": {"B": [5], "C": [20]},
    }
    with pytest.raises(RunError, match="first model: 'Ease' and 'ItemKnn'"):
        require_one_configuration(Group("D", (runs["B"], runs["C"])))


def test_two_groups_of_different_names_are_asked_for(run: Runs) -> None:
    one = Group("A", (run("one"),))
    for groups, expected in (([], "no runs"), ([one], "groups A"), ([one, one], "groups A, A")):
        with pytest.raises(RunError, match=expected):
            require_groups(groups)
