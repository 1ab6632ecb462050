from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from feature_extraction import FeatureError, FeatureStore, write_store
from feature_extraction.cli import main
from feature_extraction.stores.neighbour_quality import (
    interactions_with,
    nearest_rows,
    neighbour_quality,
    qualities,
)

GROUPS, PER_GROUP, USERS = 6, 30, 120


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of items of six groups, and users of whom each likes one group most."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(GROUPS), PER_GROUP)
    features = rng.normal(size=(GROUPS, 8))[group] + 0.3 * rng.normal(size=(len(group), 8))
    popularity = rng.exponential(size=len(group))
    users, items = [], []
    for user in range(USERS):
        liked = popularity * np.where(group == user % GROUPS, 4.0, 1.0)
        chosen = rng.choice(len(group), 20, replace=False, p=liked / liked.sum())
        users += [user] * len(chosen)
        items += chosen.tolist()
    return features.astype(np.float32), np.array(users), np.array(items)


def test_lift_is_shared_users_by_those_expected_of_popularity() -> None:
    """Against the definition, pair by pair."""
    _, users, items = drawn()
    neighbours = np.array([[1, 2], [0, -1], [3, 0], [-1, -1], [2, 3]])
    kept = items < len(neighbours)
    users, items = users[kept], items[kept]
    of_item = [set(users[items == item].tolist()) for item in range(len(neighbours))]
    every = list(permutations(range(len(neighbours)), 2))
    factor = sum(len(of_item[i] & of_item[j]) for i, j in every) / sum(
        len(of_item[i]) * len(of_item[j]) for i, j in every
    )
    pairs = [(i, j) for i, row in enumerate(neighbours.tolist()) for j in row if j >= 0]
    shared = sum(len(of_item[i] & of_item[j]) for i, j in pairs)
    expected = factor * sum(len(of_item[i]) * len(of_item[j]) for i, j in pairs)
    assert neighbour_quality(neighbours, users, items).lift == pytest.approx(shared / expected)


def test_all_pairs_are_at_exactly_one() -> None:
    _, users, items = drawn()
    n = GROUPS * PER_GROUP
    others = np.array([[other for other in range(n) if other != item] for item in range(n)])
    assert neighbour_quality(others, users, items).lift == pytest.approx(1, abs=1e-12)


def test_features_that_say_who_likes_what_are_above_chance_and_shuffled_ones_are_not() -> None:
    features, users, items = drawn()
    good = neighbour_quality(nearest_rows(features, 10), users, items)
    assert good.lift > 1.3
    assert not good.at_chance
    shuffled = np.random.default_rng(1).permutation(features)
    chance = neighbour_quality(nearest_rows(shuffled, 10), users, items)
    assert abs(chance.lift - 1) < 3 * chance.error
    assert chance.at_chance


def test_popular_neighbours_alone_are_no_signal() -> None:
    _, users, items = drawn()
    popular = np.bincount(items).argsort()[::-1][:11]
    neighbours = np.array(
        [[one for one in popular if one != item][:10] for item in range(GROUPS * PER_GROUP)]
    )
    quality = neighbour_quality(neighbours, users, items)
    assert quality.at_chance
    assert quality.largest_hub > 160
    assert quality.orphans == pytest.approx(1 - 11 / 180)


def test_hubs_and_orphans_are_counted() -> None:
    quality = neighbour_quality(
        np.array([[1, 2], [2, -1], [1, -1], [-1, -1], [2, 1]]),
        np.array([0, 0]),
        np.array([1, 2]),
    )
    assert quality.items == 4
    assert quality.largest_hub == 3
    assert quality.orphans == pytest.approx(2 / 4)


def test_without_interactions_there_is_no_lift_and_no_verdict() -> None:
    none = np.array([], np.int64)
    quality = neighbour_quality(np.array([[1], [0]]), none, none)
    assert np.isnan(quality.lift)
    assert not quality.at_chance
    assert "no interactions" in str(quality)


def test_nearest_rows_equal_scikit_learn() -> None:
    features, _, _ = drawn()
    oracle = NearestNeighbors(n_neighbors=10, metric="cosine", algorithm="brute").fit(features)
    expected = np.sort(oracle.kneighbors()[1], axis=1)
    np.testing.assert_array_equal(np.sort(nearest_rows(features, 10), axis=1), expected)
    features[7] = 0
    found = nearest_rows(features, 10)
    assert (found[7] == -1).all()
    assert not (found == 7).any()


def test_each_similarity_is_measured_and_few_items_are_not_whitened() -> None:
    features, users, items = drawn()
    present = np.ones(len(features), np.bool_)
    assert list(dict(qualities(features, present, users, items))) == [
        "plain",
        "centred",
        "whitened",
    ]
    few = np.arange(len(features)) < 8
    assert list(dict(qualities(features, few, users, items))) == ["plain", "centred"]


def test_only_the_similarities_that_are_asked_for_are_measured() -> None:
    features, users, items = drawn()
    every = np.ones(len(features), np.bool_)
    found = dict(qualities(features, every, users, items, ["whitened"]))
    assert found == {"whitened": dict(qualities(features, every, users, items))["whitened"]}


def test_features_that_are_all_equal_are_measured_but_not_whitened() -> None:
    features, users, items = drawn()
    found = dict(qualities(np.ones_like(features), np.ones(len(features), np.bool_), users, items))
    assert list(found) == ["plain", "centred"]
    assert found["centred"].items == 0


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    features, _, _ = drawn()
    ids = [f"i{row}" for row in range(len(features))]
    present = np.ones(len(ids), np.bool_)
    return write_store(tmp_path / "store", ids=ids, features=features, present=present, manifest={})


@pytest.fixture
def interactions(tmp_path: Path) -> Path:
    _, users, items = drawn()
    lines = [f"u{user},i{item}\n" for user, item in zip(users, items, strict=True)]
    path = tmp_path / "interactions.csv"
    path.write_text("who,what\n" + lines[0] + "".join(lines) + "u1,unknown\n")
    return path


def test_verify_tells_lift_and_hubs(
    store: FeatureStore, interactions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    users, rows = interactions_with(store, interactions, user_column="who", item_column="what")
    assert len(users) == len(rows) == len(drawn()[1])  # the repeated pair counts once
    arguments = ["verify", str(store.path), "--against", str(interactions)]
    columns = ["--user-column", "who", "--item-column", "what"]
    assert main([*arguments, *columns]) == 0
    printed = capsys.readouterr().out
    centred = dict(qualities(store.features, store.present, users, rows))["centred"]
    assert f"centred features: lift {centred.lift:.2f} ± " in printed
    assert f"one is that of {centred.largest_hub}" in printed
    assert "AT CHANCE" not in printed
    assert main(arguments) == 2
    assert "user_id" in capsys.readouterr().err


def test_interactions_of_other_items_are_refused(store: FeatureStore, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("user_id,item_id\na,7\n")
    with pytest.raises(FeatureError, match="'7' stands there, 'i0' in the store"):
        interactions_with(store, other, user_column="user_id", item_column="item_id")
