"""Solved regressions: made once, kept for the next run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch
from scipy import sparse
from torch import Tensor

from slifmr_pl.data.array_cache import cached_arrays, content_key
from slifmr_pl.regression.closed_form import ItemRegression, item_regression


def cached_regression(
    folder: Path | None,
    users: Tensor,
    items: Tensor,
    n_users: int,
    n_items: int,
    *,
    rank: int,
    ridge: float,
    profiles: Sequence[Any] = (),
    profile_weight: float = 0.0,
) -> ItemRegression:
    """What ``item_regression`` solves, from the cache where the same was solved before.

    Args:
        folder: Folder of the cache; None keeps nothing.
        users: See ``item_regression``, as all that follows.
        items: int64 ``[n]``.
        n_users: U.
        n_items: I.
        rank: Most eigenvectors to keep.
        ridge: λ.
        profiles: Arrays of numpy or scipy.sparse.
        profile_weight: w.
    """

    def solved() -> ItemRegression:
        return item_regression(
            users,
            items,
            n_users,
            n_items,
            rank=rank,
            ridge=ridge,
            profiles=profiles,
            profile_weight=profile_weight,
        )

    if folder is None:
        return solved()
    inputs = {"users": users.cpu().numpy(), "items": items.cpu().numpy()}
    for number, profile in enumerate(profiles):
        parts = {"": profile}
        if sparse.issparse(profile):
            parts = {name: getattr(profile, name) for name in ("data", "indices", "indptr")}
        inputs |= {f"profile {number} {name}": part for name, part in parts.items()}
    settings = {
        "sizes": [n_users, n_items],
        "rank": rank,
        "ridge": ridge,
        "weight": profile_weight,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }
    key = content_key(settings, inputs, [Path(__file__).parent / "closed_form.py"])
    arrays = cached_arrays(
        folder / "regressions",
        "regression",
        key,
        lambda: {name: part.numpy() for name, part in solved()._asdict().items()},
    )
    return ItemRegression(**{name: torch.from_numpy(array) for name, array in arrays.items()})
