"""Findings in the interactions: how they spread, when they were, what leaks through the split."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.dataset import FilterConfig, RecommendationData
from slifmr_pl.data.filtering import distinct_pairs, rated_at_least
from slifmr_pl.data.interactions import Interactions
from slifmr_pl.data.pairs import pack
from slifmr_pl.data.table_columns import SPLIT_NAMES

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# Numbers in this range are times in milliseconds; as seconds they would be after the year 5000.
_MILLISECONDS = (1e11, 1e14)
_CURVE = 60  # most points of a curve


@dataclass(frozen=True)
class Degrees:
    """Interactions of each user or of each item.

    Attributes:
        minimum: Fewest.
        median: Half have no more.
        mean: On average.
        ninety: 90 % have no more.
        maximum: Most.
        at_least: Pairs of a number n above 0, and the share that has at least n; n ascends.
    """

    minimum: int
    median: float
    mean: float
    ninety: float
    maximum: int
    at_least: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Times:
    """When the interactions were.

    Attributes:
        first: The earliest, as a date and time (UTC) or as the number in the file.
        last: The latest.
        held_out: Validation and test interactions.
        before_training: Those that are older than a training interaction of the same user.
        after_first_test: Training interactions that are newer than the oldest test interaction.
    """

    first: str
    last: str
    held_out: int
    before_training: int
    after_first_test: int


def degrees(counts: Integers) -> Degrees:
    """How interactions spread over users or items.

    Args:
        counts: int64 ``[n]``, one at least.
    """
    highest = int(counts.max())
    steps = np.unique(np.geomspace(1, max(highest, 1), _CURVE).round().astype(np.int64))
    ordered = np.sort(counts)
    shares = 1 - np.searchsorted(ordered, steps) / len(counts)
    return Degrees(
        minimum=int(counts.min()),
        median=float(np.median(counts)),
        mean=float(counts.mean()),
        ninety=float(np.quantile(counts, 0.9)),
        maximum=highest,
        at_least=tuple(zip(steps.tolist(), shares.tolist(), strict=True)),
    )


def times(raw: RawData, data: RecommendationData, filters: FilterConfig) -> Times | None:
    """The range of time, and how far the split looks into the future.

    Args:
        raw: Tables with times or without.
        data: What was made of them.
        filters: With which filters.

    Returns:
        None without a column ``timestamp``.
    """
    table = raw.interactions
    if "timestamp" not in table.column_names:
        return None
    users = data.users.encode(table["user_id"], unknown=-1)
    items = data.items.encode(table["item_id"], unknown=-1)
    counts = (users >= 0) & (items >= 0)
    if filters.minimum_rating is not None:
        counts &= rated_at_least(table["rating"].to_numpy(), filters.minimum_rating)
    moments = table["timestamp"].to_numpy()
    pairs = distinct_pairs(users[counts], items[counts], moments[counts])
    kept, n_items = pairs.timestamps, len(data.items)
    assert kept is not None
    keys = pack(pairs.users, pairs.items, n_items)

    def moments_of(part: Interactions) -> Floats:
        return kept[np.searchsorted(keys, pack(part.users, part.items, n_items))]

    train, test = moments_of(data.train), moments_of(data.test)
    latest = np.full(len(data.users), -np.inf)
    np.maximum.at(latest, data.train.users, train)
    before = sum(
        int((moments_of(part) < latest[part.users]).sum()) for part in (data.valid, data.test)
    )
    return Times(
        first=_moment(float(kept.min())),
        last=_moment(float(kept.max())),
        held_out=len(data.valid) + len(data.test),
        before_training=before,
        after_first_test=int((train > test.min()).sum()) if len(test) else 0,
    )


def in_several_parts(raw: RawData) -> int:
    """Pairs that the data's own column ``split`` puts into more than one part."""
    table = raw.interactions
    if "split" not in table.column_names:
        return 0
    pairs = table.group_by(["user_id", "item_id"]).aggregate([("split", "count_distinct")])
    return int(pc.sum(pc.greater(pairs["split_count_distinct"], 1)).as_py() or 0)


def given_parts(raw: RawData) -> dict[str, int]:
    """Rows of each part that the data's own column ``split`` names; empty without one."""
    table = raw.interactions
    if "split" not in table.column_names:
        return {}
    counts = {
        entry["values"]: entry["counts"] for entry in pc.value_counts(table["split"]).to_pylist()
    }
    return {name: counts.get(name, 0) for name in SPLIT_NAMES}


def lookalikes(ids: pa.StringArray) -> list[tuple[str, ...]]:
    """Ids that differ from each other only in case or in blanks around them."""
    folded = pc.utf8_lower(pc.utf8_trim_whitespace(ids))
    counts = pc.value_counts(folded)
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    alike = pc.is_in(folded, repeated)
    groups: dict[str, list[str]] = {}
    for key, raw in zip(
        folded.filter(alike).to_pylist(), ids.filter(alike).to_pylist(), strict=True
    ):
        groups.setdefault(key, []).append(raw)
    return [tuple(group) for group in groups.values()]


def _moment(value: float) -> str:
    seconds = value / 1000 if _MILLISECONDS[0] <= value < _MILLISECONDS[1] else value
    if not 1e8 <= seconds < _MILLISECONDS[0]:  # not a time since 1970, but a year or a counter
        return f"{value:g}"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
