import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from slifmr_pl.cli import main
from slifmr_pl.data.interactions import UserItems
from slifmr_pl.data.knowledge_join import Triples
from slifmr_pl.errors import RunError
from slifmr_pl.report.item_section import grouping, principal_plane, similarities
from slifmr_pl.report.run import Run, read_history, read_run
from slifmr_pl.report.trained import TrainedRun, load_trained
from slifmr_pl.report.training import Rebuild, rebuilds
from slifmr_pl.report.users import fifths

Copied = Callable[..., Path]


@pytest.fixture(scope="module")
def run(run_folder: Path) -> Run:
    return read_run(run_folder)


@pytest.fixture(scope="module")
def trained(run: Run) -> TrainedRun:
    return load_trained(run, None)


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path) -> Copied:
    """A copy of the run that lacks some files."""

    def make(*without: str) -> Path:
        folder = tmp_path / "copy" / "version_0"
        shutil.copytree(run_folder, folder, ignore=shutil.ignore_patterns(*without, "events*"))
        return folder

    return make


def page_of(folder: Path, *options: str) -> str:
    assert main(["report", str(folder), "--out", str(folder / "page.html"), *options]) == 0
    return (folder / "page.html").read_text("utf-8")


def test_lists_are_those_that_the_test_counted(run: Run, trained: TrainedRun) -> None:
    assert run.evaluation is not None
    users = trained.data.users.encode(run.evaluation.users)
    hits = np.array([trained.is_hit(user).sum() for user in users])
    recall = run.evaluation.values[:, run.evaluation.columns.index("recall@20")]
    np.testing.assert_allclose(hits / trained.relevant.counts[users], recall)


def test_views_end_in_what_is_ranked_with(trained: TrainedRun) -> None:
    assert list(trained.views) == ["interactions", "image", "text", "knowledge", "fused"]
    dim = trained.module.representation_dim
    with torch.no_grad():
        representations = trained.module.representations()
    assert torch.equal(trained.views["fused"], representations.items[:, :dim])
    assert len({view.shape for view in trained.views.values()}) == 1


def test_page_shows_a_dozen_users_by_their_ids_and_no_more(
    run_folder: Path, trained: TrainedRun
) -> None:
    page = page_of(run_folder)
    users = trained.data.users.ids.to_pylist()
    shown = [user for user in users if re.search(rf"\b{user}\b", page)]
    assert len(shown) == 12


def test_page_has_every_part(run_folder: Path) -> None:
    page = page_of(run_folder)
    for expected in (
        "recall@20 on the validation part",
        "Edges of the correlation graph",
        "Before: frozen graph of image",
        "After: neighbours",
        "of one item",
        "Users by activity",
        "Items by popularity",
        "Recommended",
        "Sizes after filtering",
        "slifmr reproduce",
        "learning_rate",
    ):
        assert expected in page
    assert 'class="missing"' not in page
    assert "<script>document" not in page
    assert page.count("data:image/jpeg") > 50
    assert len(page) < 4_000_000


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("per_user.parquet", "the run has no per_user.parquet"),
        ("test.json", "the run has no test.json"),
        ("metrics.csv", "There are no curves"),
        ("config.yaml", "The settings are missing"),
        ("run.json", "The record is missing"),
        ("epoch*.ckpt", "there is no such checkpoint"),
    ],
)
def test_what_is_missing_is_said(
    copied: Copied, without: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = page_of(copied(without))
    assert said in page
    assert "could not be shown, and it says why" in capsys.readouterr().out
    assert "Settings, and how to reproduce" in page


def test_data_that_moved_or_changed_are_said(copied: Copied, shop: Path, tmp_path: Path) -> None:
    folder = copied()
    gone = page_of(folder, "--data.root", str(tmp_path / "gone"))
    assert "the run&#x27;s data are not there" in gone
    assert "recall@20 on the validation part" in gone
    changed = Path(shutil.copytree(shop, tmp_path / "changed"))
    with (changed / "interactions.csv").open("a") as file:
        file.write("newcomer,i0000,1700000000\n")
    assert "the data have changed since the training: users" in page_of(
        folder, "--data.root", str(changed)
    )
    moved = Path(shutil.copytree(shop, tmp_path / "moved"))
    assert 'class="missing"' not in page_of(folder, "--data.root", str(moved))


@pytest.fixture(scope="module")
def worse(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of EASE on half of the training interactions, also of the test."""
    root = tmp_path_factory.mktemp("worse")
    arguments = ["--config", "model/ease", "--data.root", str(shop), "--name", "worse"]
    arguments += ["--data.perturbations.train_share", "0.5", "--trainer.accelerator", "cpu"]
    assert main(["fit", *arguments, "--trainer.default_root_dir", str(root)]) == 0
    folder = root / "worse" / "version_0"
    (best,) = (folder / "checkpoints").glob("epoch*.ckpt")
    assert main(["test", "--ckpt_path", str(best)]) == 0
    return folder


def test_run_on_worse_data_is_shown_with_the_data_that_it_had(worse: Path) -> None:
    run = read_run(worse)
    trained = load_trained(run, None)
    assert len(trained.data.train) < 0.6 * trained.findings.summary.train
    test_lists_are_those_that_the_test_counted(run, trained)


def test_damaged_settings_are_said_in_the_page(copied: Copied) -> None:
    folder = copied()
    (folder / "config.yaml").write_text("model: [1\n")
    assert "config.yaml cannot be read: expected" in page_of(folder)


def test_several_runs_are_compared(
    run_folder: Path, copied: Copied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = copied()
    assert main(["report", str(run_folder), str(other)]) == 0
    page = (tmp_path / "comparison.html").read_text()
    for expected in (
        "B demo − A demo",
        "+0.0000",
        "A demo is the baseline",
        "val/recall@20",
        "(Holm)",
    ):
        assert expected in page
    (other / "per_user.parquet").unlink()
    assert main(["report", "--group", f"one={run_folder}", "--group", f"two={other}"]) == 0
    page = (tmp_path / "comparison.html").read_text()
    assert "Cannot be compared: " in page
    assert "the run has no per_user.parquet" in page
    assert "val/recall@20" in page


@pytest.mark.parametrize("runs", [[], ["."], ["no-such-folder"]])
def test_what_is_no_run_is_refused(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", *runs]) == 2
    assert not list(tmp_path.iterdir())


def test_rebuilds_are_told_from_edges_and_overlap() -> None:
    # Graphs of 4, 6 and 6 edges; 2 of 8, then 6 of 6 are common.
    history = {
        "self_loop/edges": ([0.0, 1.0, 2.0], [4.0, 6.0, 6.0]),
        "self_loop/overlap": ([0.0, 1.0, 2.0], [0.0, 2 / 8, 1.0]),
        "self_loop/similarity": ([0.0, 1.0, 2.0], [0.1, 0.2, 0.3]),
    }
    assert rebuilds(history) == [
        Rebuild(0, 4, 0, 0, 0.1),
        Rebuild(1, 6, 2, 2, 0.2),
        Rebuild(2, 6, 6, 0, 0.3),
    ]
    resumed = {name: (epochs[1:], values[1:]) for name, (epochs, values) in history.items()}
    assert rebuilds(resumed) == [Rebuild(2, 6, 6, 0, 0.3)]
    assert rebuilds({}) == []


def test_history_is_by_epoch_and_damage_is_said(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,a,b\n0,4,1.5,\n0,4,,2\n1,9,1.25,\n")
    assert read_history(path) == {"a": ([0, 1], [1.5, 1.25]), "b": ([0], [2])}
    for damaged in ("step,a\n1,2\n", "epoch,a\n0,x\n", "epoch,a\n0\0\n"):
        path.write_text(damaged)
        with pytest.raises(RunError, match="history of the training"):
            read_history(path)


def test_fifths_are_in_order_and_keep_equals_together() -> None:
    values = np.random.default_rng(0).integers(0, 30, 400)
    groups = fifths(values)
    assert len(groups) == 5
    assert sorted(np.concatenate(groups)) == list(range(400))
    for one, two in pairwise(groups):
        assert values[one].max() < values[two].min()
    assert max(map(len, groups)) < 2 * min(map(len, groups))
    assert [len(group) for group in fifths(np.ones(7, np.int64))] == [7]


def test_items_are_coloured_by_the_column_or_relation_that_groups_them_best(
    trained: TrainedRun,
) -> None:
    name, labels = grouping(trained.data, trained.cards)
    assert name in trained.data.relations.decode(range(len(trained.data.relations)))
    assert 1 < len({label for label in labels if label}) < len(labels) / 2
    empty = np.empty(0, np.int64)
    bare = replace(trained.data, triples=Triples(empty, empty, empty))
    # Every description is another text.
    assert grouping(bare, trained.cards) == ("nothing", [""] * len(labels))


def test_plane_shows_most_of_the_differences() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 4)) * [0.1, 5, 0.2, 2] + 7
    plane = principal_plane(rows)
    assert np.abs(plane).argmax(axis=0).tolist() == [1, 3]
    np.testing.assert_allclose(plane.T @ plane, np.eye(2), atol=1e-12)


def test_similarities_equal_brute_force() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 9, 3))
    products = one @ two.T
    same, other = similarities(one, two)
    assert same == pytest.approx(np.diag(products).mean())
    assert other == pytest.approx(products[~np.eye(9, dtype=bool)].mean())


def test_lists_of_users_without_test_items_are_empty(trained: TrainedRun) -> None:
    assert isinstance(trained.relevant, UserItems)
    without = np.flatnonzero(trained.relevant.counts == 0)
    assert all(not trained.is_hit(user).any() for user in without)
