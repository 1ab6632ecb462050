"""Features of items out of reviews, or of texts of users: training interactions alone count."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feature_extraction import ExtractionConfig
from slifmr_pl.data.dataset import SplitConfig
from slifmr_pl.data.features import ModalitySource
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.report.inspection.inspect import inspect

# user, item, part, review
ROWS = [
    ("ann", "a", "train", "red hat"),
    ("ann", "b", "train", "blue hat"),
    ("ann", "c", "test", "a shoe"),
    ("bob", "a", "train", "blue shoe"),
    ("bob", "b", "valid", "red"),
    ("bob", "c", "train", ""),
    ("cid", "a", "test", "nothing"),
    ("cid", "c", "train", "hat"),
    ("cid", "d", "train", ""),
]
USERS = [("ann", "red"), ("bob", "blue"), ("eve", "hat")]


def folder(root: Path, changed: dict[tuple[str, str], str] | None = None) -> Path:
    root.mkdir(exist_ok=True)
    rows = [(u, i, part, (changed or {}).get((u, i), text)) for u, i, part, text in ROWS]
    for name, header, lines in (
        ("interactions", ("user_id", "item_id", "split", "review"), rows),
        ("people", ("user_id", "about"), USERS),
    ):
        with (root / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *lines])
    return root


def reviews(catalogue: Path, **options: Any) -> ModalitySource:
    named = {"reviews": "interactions.csv", "columns": ("review",)} | options
    return ModalitySource("bert", str(catalogue / "encoders" / "bert"), **named)


def data(root: Path, source: ModalitySource) -> SlifMrDataModule:
    return SlifMrDataModule(
        str(root),
        split=SplitConfig("given"),
        modalities={"words": source},
        extraction=ExtractionConfig(batch_size=1, progress=False),  # no rounding by neighbours
        cache_dir=str(root.parent / "cache"),
        neighbours=2,
    )


def by_item(module: SlifMrDataModule) -> dict[str, torch.Tensor | None]:
    features = module.model_inputs.features["words"]
    ids = module.data.items.ids.to_pylist()
    pairs = zip(ids, features.values, features.present.tolist(), strict=True)
    return {item: values if there else None for item, values, there in pairs}


def test_item_is_the_mean_of_its_training_reviews(catalogue: Path, tmp_path: Path) -> None:
    module = data(folder(tmp_path / "x"), reviews(catalogue))
    found = by_item(module)
    store = module.stores["words"]
    assert len(store.ids) == len(ROWS)  # every review is encoded once, whatever the split
    vector = {row[:2]: torch.tensor(store.features[n]) for n, row in enumerate(ROWS)}
    assert found["d"] is None
    for item, pairs in {
        "a": [("ann", "a"), ("bob", "a")],
        "b": [("ann", "b")],
        "c": [("cid", "c")],
    }.items():
        expected = torch.stack([vector[pair] for pair in pairs]).mean(0)
        values = found[item]
        assert values is not None
        torch.testing.assert_close(values, expected)


def test_no_held_out_review_leaks_into_features(catalogue: Path, tmp_path: Path) -> None:
    """Whatever the reviews of validation and test say, features and graphs stay as they are."""
    plain = data(folder(tmp_path / "x"), reviews(catalogue))
    before = by_item(plain)
    held_out = [row[:2] for row in ROWS if row[2] != "train"]
    other = dict.fromkeys(held_out, "the winner is revealed here")
    changed = data(folder(tmp_path / "y", other), reviews(catalogue))
    after = by_item(changed)
    for item, values in before.items():
        assert values is None if after[item] is None else torch.equal(values, after[item])
    graph, same = (one.model_inputs.graph.modalities["words"] for one in (plain, changed))
    assert torch.equal(graph.indices, same.indices)
    assert plain.model_inputs.fingerprint == changed.model_inputs.fingerprint
    # The test can fail: a training review does change them.
    training = data(folder(tmp_path / "z", {("bob", "a"): "red"}), reviews(catalogue))
    assert not torch.equal(before["a"], by_item(training)["a"])
    assert training.model_inputs.fingerprint != plain.model_inputs.fingerprint


def test_texts_of_users_are_averaged_over_those_who_have_an_item_in_training(
    catalogue: Path, tmp_path: Path
) -> None:
    source = reviews(catalogue, reviews=None, users="people.csv", columns=("about",))
    module = data(folder(tmp_path / "x"), source)
    found = by_item(module)
    red, blue, _ = torch.tensor(np.asarray(module.stores["words"].features))
    torch.testing.assert_close(found["a"], (red + blue) / 2)
    torch.testing.assert_close(found["b"], red)  # bob has it in validation alone
    torch.testing.assert_close(found["c"], blue)  # ann has it in the test alone; cid wrote nothing
    assert found["d"] is None


def test_columns_of_ids_can_have_other_names(catalogue: Path, tmp_path: Path) -> None:
    root = folder(tmp_path / "x")
    text = (root / "interactions.csv").read_text().replace("user_id,item_id,", "who,what,", 1)
    (root / "reviews.csv").write_text(text)
    usual = by_item(data(root, reviews(catalogue)))
    named = reviews(catalogue, reviews="reviews.csv", id_columns=("who", "what"))
    found = by_item(data(root, named))
    assert torch.equal(found["a"], usual["a"])


def test_reviews_of_other_ids_are_refused(catalogue: Path, tmp_path: Path) -> None:
    root = folder(tmp_path / "x")
    (root / "other.csv").write_text("user_id,item_id,review\nzoe,q,red\n")
    with pytest.raises(DataError, match="none of the 1 rows is of a training interaction"):
        by_item(data(root, reviews(catalogue, reviews="other.csv")))
    (root / "empty.csv").write_text("user_id,item_id,review\n")
    with pytest.raises(DataError, match="no rows"):
        by_item(data(root, reviews(catalogue, reviews="empty.csv")))


@pytest.mark.parametrize(
    "fields",
    [
        {"users": "people.csv"},
        {"store": "features/x"},
        {"id_columns": ("user_id",)},
        {"reviews": None, "id_columns": ("user_id",)},
    ],
)
def test_sources_that_contradict_each_other_are_refused(
    catalogue: Path, fields: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"reviews|id_columns"):
        reviews(catalogue, **fields)


def test_reviews_without_columns_have_no_source(catalogue: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no source"):
        by_item(data(folder(tmp_path / "x"), reviews(catalogue, columns=(), files=".")))


def test_inspection_counts_items_with_training_reviews(catalogue: Path, tmp_path: Path) -> None:
    module = data(folder(tmp_path / "x"), reviews(catalogue))
    (coverage,) = inspect(module).findings.coverage
    assert coverage.source == "review of interactions.csv, by training interactions"
    assert (coverage.present, coverage.items) == (3, 4)  # the only review of d is empty
