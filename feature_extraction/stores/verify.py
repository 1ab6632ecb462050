"""Check a feature store, and say what stands out in it."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from feature_extraction.items.inputs import ItemSource
from feature_extraction.stores.store import FeatureStore


class Interactions(NamedTuple):
    """A table with a row per interaction."""

    path: Path
    user_column: str = "user_id"
    item_column: str = "item_id"


_ROWS = 65_536  # read at once
_SHOWN = 5  # ids of a group of duplicates


def verify(
    path: Path,
    *,
    sheet: Path | None = None,
    items: ItemSource | None = None,
    against: Interactions | None = None,
) -> str:
    """Check every file and value of a store.

    Args:
        path: The store folder.
        sheet: Where to draw items beside their nearest neighbours, as a PNG; None draws nothing.
        items: Names and pictures of the sheet; None draws ids alone.
        against: Interactions that tell how much the features say of who likes what.

    Returns:
        What was found, line by line.

    Raises:
        FeatureError: A file was changed, or a value is not finite.
    """
    store = FeatureStore.open(path, verify=True)
    size = f"{len(store.ids):,} items x {store.features.shape[1]} {store.features.dtype}"
    lines = [
        f"{store.path}: {size}",
        "whole: all hashes agree, and all values are finite",
        _coverage(store),
        _norms(store),
        _duplicates(store),
    ]
    if against is not None:
        lines += _qualities(store, against)
    if sheet is not None:
        # Pillow is needed for nothing else here.
        from feature_extraction.stores.contact_sheet import draw_sheet

        draw_sheet(store, items, sheet)
        lines.append(f"sheet: {sheet}")
    return "\n".join(lines)


def _qualities(store: FeatureStore, against: Interactions) -> list[str]:
    # SciPy is needed for nothing else here.
    from feature_extraction.stores.neighbour_quality import (
        NEIGHBOURS,
        interactions_with,
        qualities,
    )

    users, rows = interactions_with(
        store, against.path, user_column=against.user_column, item_column=against.item_column
    )
    found = dict(qualities(store.features, store.present, users, rows))
    items = next(iter(found.values())).items
    return [
        f"neighbours of {items:,} items, {NEIGHBOURS} each, against {against.path}, by cosines of",
        *(
            f"  {name} features: {quality}" + ("; AT CHANCE" if quality.at_chance else "")
            for name, quality in found.items()
        ),
    ]


def _coverage(store: FeatureStore) -> str:
    present, items = int(store.present.sum()), len(store.ids)
    failures = len(store.failures)
    line = f"coverage: {present:,} of {items:,} items have features ({present / items:.1%})"
    return line + (f"; {failures:,} inputs failed, see failures.csv" if failures else "")


def _norms(store: FeatureStore) -> str:
    norms = np.concatenate(
        [
            np.linalg.norm(store.features[start : start + _ROWS].astype(np.float32), axis=1)
            for start in range(0, len(store.ids), _ROWS)
        ]
    )[store.present]
    low, middle, high = np.quantile(norms, (0, 0.5, 1))
    line = f"norms: {low:.4g} to {high:.4g}, median {middle:.4g}"
    zeros = int((norms == 0).sum())
    return line + (f"; {zeros:,} ARE ZERO and have no direction" if zeros else "")


def _duplicates(store: FeatureStore) -> str:
    """Say how many items share their vector, bit by bit, with others."""
    digests: dict[bytes, list[int]] = {}
    for row in np.flatnonzero(store.present).tolist():
        digest = hashlib.blake2b(store.features[row].tobytes(), digest_size=16).digest()
        digests.setdefault(digest, []).append(row)
    groups = sorted((rows for rows in digests.values() if len(rows) > 1), key=len, reverse=True)
    if not groups:
        return "duplicates: none"
    first = ", ".join(repr(store.ids[row]) for row in groups[0][:_SHOWN])
    more = ", ..." if len(groups[0]) > _SHOWN else ""
    return (
        f"duplicates: {sum(map(len, groups)):,} items share their features with others, in "
        f"{len(groups):,} groups; the largest has {len(groups[0]):,}: {first}{more}"
    )
