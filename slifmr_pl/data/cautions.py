"""What looks wrong in data that can be read: for `fit`, which logs it, and for `inspect`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from slifmr_pl.data.pairs import pack, unpack
from slifmr_pl.data.summary import Caution, Ratings
from slifmr_pl.data.table_columns import WHOLE_FRACTION
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import DataError

_ROUNDED = r"^[+-]?[0-9](\.[0-9]+)?[eE]\+[0-9]+$"
_NO_TEXTS = ("nan", "none", "n/a", "<na>", "null", "#n/a")
_SHOWN_VALUES = 10  # of distinct ratings
_SMALL = 0.5  # an overlap below this is said aloud


def ratings_of(values: npt.NDArray[np.float64]) -> Ratings:
    """How interactions are rated.

    Args:
        values: float64 ``[n]``, one at least.
    """
    counted = pc.value_counts(values)  # quicker than to sort them
    shown = len(counted) <= _SHOWN_VALUES
    pairs = zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)
    return Ratings(
        lowest=float(values.min()),
        highest=float(values.max()),
        median=float(np.median(values)),
        rows=len(values),
        not_positive=int((values <= 0).sum()),
        counts=tuple(sorted(pairs)) if shown else (),
    )


def of_ratings(ratings: Ratings) -> Iterator[Caution]:
    """Ratings that differ, and no rule which of them are likes."""
    if ratings.not_positive:
        found = f"{ratings.not_positive:,} of {ratings.rows:,} interactions are rated 0 or less"
        effect = "they train as likes, as every row does"
    elif ratings.lowest < ratings.highest:
        found = f"ratings differ, from {ratings.lowest:g} to {ratings.highest:g}"
        effect = "every row trains as a like, also the lowest rating"
    else:
        return
    yield Caution(
        f"{found}, and data.filters.minimum_rating is not set",
        f"{effect}; set data.filters.minimum_rating to the lowest rating that is a like",
    )


def of_ids(ids: pa.StringArray, name: str) -> Iterator[Caution]:
    """Ids that a program wrote in another form than they had.

    Args:
        ids: Distinct ones.
        name: What they are called.
    """
    if len(ids) and pc.all(pc.match_substring_regex(ids, WHOLE_FRACTION)).as_py():
        yield Caution(
            f"every {name} is a whole number written as a fraction, such as {ids[0].as_py()!r}",
            f"it is another id than {ids[0].as_py().partition('.')[0]!r} in other files; write it "
            "as a whole number (in pandas .astype('Int64')), or import it with --whole-ids",
        )
    rounded = ids.filter(pc.match_substring_regex(ids, _ROUNDED))
    if len(rounded):
        yield Caution(
            f"{len(rounded):,} ids in {name} look like numbers that a spreadsheet rounded, such "
            f"as {rounded[0].as_py()!r}",
            "several ids may have become one; export the file anew with the column as text",
        )
    missing = ids.filter(pc.is_in(pc.utf8_lower(ids), _no_texts()))
    if len(missing):
        yield Caution(
            f"{name} is {missing[0].as_py()!r} in some rows",
            "it counts as an id like any other; remove the rows if the id is missing there",
        )


def of_texts(items: pa.Table) -> Iterator[Caution]:
    """Texts that stand for no text."""
    for name in items.column_names:
        empty = items[name].filter(
            pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(items[name])), _no_texts())
        )
        if name != "item_id" and len(empty):
            yield Caution(
                f"{len(empty):,} items have a {name} such as {pc.min(empty).as_py()!r}",
                "an encoder reads it as words; leave the field empty where there is no text",
            )


def overlap(
    interacted: Vocabulary, ids: pa.ChunkedArray, name: str, lacking: str, root: Path
) -> Iterator[Caution]:
    """Items of interactions that another table has, too.

    Args:
        interacted: Items of the interactions.
        ids: Items of the table.
        name: What it is called.
        lacking: What an item lacks that is not in it.
        root: The data folder.

    Raises:
        DataError: There are none, although the table has rows.
    """
    if not len(ids):
        return
    known = pc.is_in(interacted.ids, pc.unique(ids))
    inside = pc.sum(known).as_py() or 0
    if not inside:
        raise DataError(
            f"no item of the {name} is in an interaction: {ids[0].as_py()!r} stands there, "
            f"{interacted.ids[0].as_py()!r} in the interactions",
            expected="the same ids of items in both",
            fix=written_alike(interacted.ids, pc.unique(ids)),
            path=root,
        )
    if inside < _SMALL * len(known):
        other = interacted.ids[pc.index(known, False).as_py()].as_py()
        yield Caution(
            f"only {inside:,} of the {len(known):,} items with interactions are in the {name}; "
            f"{other!r} is not, {pc.min(ids).as_py()!r} stands there",
            f"the others {lacking}; write the ids alike in both files if they should be",
        )


def of_repeated_pairs(
    users: npt.NDArray[np.int64], items: npt.NDArray[np.int64], labels: npt.NDArray[np.int8]
) -> Iterator[Caution]:
    """Pairs that the data put into more than one part of the split.

    Args:
        users: int64 ``[n]`` of the rows.
        items: int64 ``[n]``.
        labels: int8 ``[n]``, the part that the data give a row.
    """
    pairs = pack(users, items, int(items.max(initial=0)) + 1)
    in_parts, _ = unpack(
        np.unique(pack(pairs, labels.astype(np.int64), 3)), 3
    )  # a pair once for each of its parts
    several = int((np.unique(in_parts, return_counts=True)[1] > 1).sum())
    if several:
        yield Caution(
            f"{several:,} pairs of user and item are in more than one part of the data's own split",
            "each stays in the part of its earliest row, else in the first of train, valid, test",
        )


def of_parts(
    train: npt.NDArray[np.int64],
    held_out: npt.NDArray[np.int64],
    part: str,
    users: Vocabulary,
    given: bool,
    root: Path,
) -> Iterator[Caution]:
    """Users of an evaluation part that nothing is learnt of.

    Args:
        train: Users of the training interactions.
        held_out: Users of those of the part.
        part: Its name.
        users: All users.
        given: Whether the data say themselves which part a row is in.
        root: The data folder.

    Raises:
        DataError: The parts are given, and have no user in common.
    """
    of_part = np.unique(held_out)
    unknown = of_part[~np.isin(of_part, train)]
    if given and len(of_part) and len(unknown) == len(of_part):
        raise DataError(
            f"no user of the {part} part has a training interaction: "
            f"{users.decode(unknown[:1])[0]!r} stands there, {users.decode(train[:1])[0]!r} in "
            "training",
            expected="users of whom something can be learnt",
            fix="write the ids alike in all parts, or split by data.split.strategy ratio",
            path=root,
        )
    if len(unknown) > _SMALL * len(of_part):
        yield Caution(
            f"{len(unknown):,} of the {len(of_part):,} users of the {part} part have no training "
            f"interaction, such as {users.decode(unknown[:1])[0]!r}; "
            f"{users.decode(train.min(keepdims=True))[0]!r} has",
            "they are ranked for at random; split by user, or write the ids alike in all parts",
        )


def written_alike(*sides: pa.Array) -> str:
    """What to do about ids of two tables that do not meet.

    Args:
        *sides: The ids of both.
    """
    fractions = [pc.all(pc.match_substring_regex(ids, WHOLE_FRACTION)).as_py() for ids in sides]
    if fractions[0] != fractions[1]:
        return (
            "write whole numbers in both files: 12.0 is another id than 12 (in pandas "
            ".astype('Int64'); `slifmr import table` does with --whole-ids)"
        )
    return "write the ids alike in both files (007 is not 7)"


def _no_texts() -> pa.Array:
    # Made when needed: Arrow imports pandas, where that is installed, for its first list.
    return pa.array(_NO_TEXTS)
