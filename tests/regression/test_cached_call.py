from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from slifmr_pl.data.array_cache import cached_call
from slifmr_pl.graphs.neighbours import Neighbours, NeighbourSearch, cosine_neighbours
from slifmr_pl.regression.item_regression import ItemRegression, item_regression

FEATURES = torch.randn(30, 4, generator=torch.Generator().manual_seed(3))
SOURCES = [Path(__file__)]
PRESENT = torch.arange(30) % 7 > 0


def search(folder: Path, compute: Any = cosine_neighbours, **changes: Any) -> Neighbours:
    options = {
        "features": FEATURES,
        "k": 3,
        "present": PRESENT,
        "centre": True,
        "search": NeighbourSearch(),
        **changes,
    }
    budget = {"memory_budget_mb": options.pop("memory_budget_mb", 8)}
    return cached_call(
        compute, Neighbours, options, folder=folder, name="n", unkeyed=budget, sources=SOURCES
    )


def fails(**arguments: Any) -> Any:
    pytest.fail("it is computed again")


def equal(one: Neighbours, other: Neighbours) -> bool:
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


def test_kept_neighbours_are_those_of_the_search(
    tmp_path: Path,
) -> None:
    neighbours = cosine_neighbours(FEATURES, 3, present=PRESENT, centre=True)
    assert equal(search(tmp_path), neighbours)
    assert equal(search(tmp_path, fails), neighbours)
    assert equal(search(tmp_path, fails, memory_budget_mb=1), neighbours)


@pytest.mark.parametrize(
    "change",
    [
        {"k": 4},
        {"search": NeighbourSearch("approximate")},
        {"centre": False},
        {"present": torch.ones(30, dtype=torch.bool)},
        {"features": FEATURES + 1e-6},
        {"features": FEATURES.double()},
    ],
)
def test_whatever_changes_the_result_changes_the_key(tmp_path: Path, change: Any) -> None:
    search(tmp_path)
    arguments = {"features": FEATURES, "k": 3, "present": PRESENT, "centre": True, **change}
    features, k = arguments.pop("features"), arguments.pop("k")
    assert equal(search(tmp_path, **change), cosine_neighbours(features, k, **arguments))
    assert len(list(tmp_path.iterdir())) == 2


USERS, ITEMS = torch.randint(0, 9, (40,)).sort().values, torch.randint(0, 12, (40,))
PROFILE = np.eye(12)[:, :5]


def solved(folder: Path | None, compute: Any = item_regression, **changes: Any) -> ItemRegression:
    options = {
        "users": USERS,
        "items": ITEMS,
        "n_users": 9,
        "n_items": 12,
        "rank": 6,
        "ridge": 2.0,
        "profiles": [PROFILE, csr_array(PROFILE)],
        "profile_weight": 1.5,
        **changes,
    }
    return cached_call(compute, ItemRegression, options, folder=folder, name="r", sources=SOURCES)


def test_kept_regressions_are_those_that_would_be_solved_again(
    tmp_path: Path,
) -> None:
    uncached = solved(None)
    assert all(map(torch.equal, solved(tmp_path), uncached))
    assert all(map(torch.equal, solved(tmp_path, fails), uncached))


@pytest.mark.parametrize(
    "change",
    [
        {"rank": 5},
        {"ridge": 2.5},
        {"profile_weight": 1.0},
        {"items": ITEMS.flip(0)},
        {"n_users": 10},
        {"profiles": [PROFILE]},
        {"profiles": [PROFILE, csr_array(2 * PROFILE)]},
    ],
)
def test_whatever_changes_a_regression_changes_the_key(tmp_path: Path, change: Any) -> None:
    solved(tmp_path)
    assert all(map(torch.equal, solved(tmp_path, **change), solved(None, **change)))
    assert len(list(tmp_path.iterdir())) == 2
