"""Item features out of what users wrote, reviews or texts of their own, by training alone.

Every row of the table is encoded once, whatever the split; which of them an item's features are the
mean of, training decides.

I items, n rows of the table, d feature size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_array

from feature_extraction import FeatureStore, Files, InputError, Item, RawModality
from feature_extraction.items.input_files import open_files
from feature_extraction.tables.rows import stream_rows
from slifmr_pl.data.interactions import Interactions
from slifmr_pl.data.pairs import pack
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import DataError

Integers = npt.NDArray[np.int64]

_COLUMNS = 64  # of the features at once, so that no second table of all rows is held


@dataclass(frozen=True)
class InteractionRows:
    """The rows of a table of reviews or users, as the items of an extraction.

    Attributes:
        path: The table.
        ids: Columns of the ids: user and item of a review, or the user alone.
        columns: Columns of the raw inputs.
        reads: What they are.
        place: Folder of their files.
    """

    path: Path
    ids: tuple[str, ...]
    columns: tuple[str, ...]
    reads: RawModality
    place: Path

    def __iter__(self) -> Iterator[Item]:
        """Start a pass over the rows; an item of the extraction is called by the number of its row.

        Raises:
            TableError: The table cannot be read.
            DataError: A value cannot be an input, or there is no row.
        """
        count = 0
        for row, values in stream_rows(self.path, self.columns):
            try:
                cells = dict(zip(self.columns, values, strict=True))
                inputs = self.reads.from_columns(cells)
            except InputError as error:
                raise DataError(
                    str(error),
                    expected=self.reads.expects,
                    fix="mend the row, or name other columns",
                    path=self.path,
                    row=row,
                ) from error
            yield Item(str(count), inputs={self.reads.name: inputs})
            count += 1
        if not count:
            raise DataError("no rows", expected="at least one", fix="add rows", path=self.path)

    def files(self, modality: str) -> Files:
        """Where the files of a raw modality are."""
        return open_files([self.place], modality)

    def encoded_ids(self, *vocabularies: Vocabulary) -> list[Integers]:
        """Rows of the ids in vocabularies, int64 ``[n]`` for each column; -1 where unknown."""
        read: list[list[str]] = [[] for _ in self.ids]
        for _, values in stream_rows(self.path, self.ids):
            for column, value in zip(read, values, strict=True):
                column.append("" if value is None else str(value))
        return [
            vocabulary.encode(pa.array(column, pa.string()), unknown=-1)
            for vocabulary, column in zip(vocabularies, read, strict=True)
        ]


def training_rows(
    rows: InteractionRows, users: Vocabulary, items: Vocabulary, train: Interactions
) -> csr_array:
    """Which rows of the table count for which item, by training interactions alone.

    A review counts for its item where its user has the item in training; the text of a user
    counts for every item that the user has in training.

    Args:
        rows: The table.
        users: Users of the data set.
        items: Items of the data set.
        train: Training interactions; nothing else is looked at.

    Returns:
        Ones, float32 ``[I, n]``.

    Raises:
        DataError: No row counts.
    """
    if len(rows.ids) == 2:
        of_user, of_item = rows.encoded_ids(users, items)
        known = np.flatnonzero((of_user >= 0) & (of_item >= 0))
        keys = pack(of_user[known], of_item[known], len(items))
        chosen = known[np.isin(keys, pack(train.users, train.items, len(items)))]
        pairs = of_item[chosen], chosen
        total = len(of_user)
    else:
        (of_user,) = rows.encoded_ids(users)
        place = np.full(len(users), -1, np.int64)
        known = np.flatnonzero(of_user >= 0)
        place[of_user[known]] = known
        written = place[train.users]
        pairs = train.items[written >= 0], written[written >= 0]
        total = len(of_user)
    if not len(pairs[0]):
        raise DataError(
            f"none of the {total:,} rows is of a training interaction",
            expected="ids as in the interactions",
            fix=f"write the ids alike, or name the columns of the ids ({', '.join(rows.ids)})",
            path=rows.path,
        )
    ones = np.ones(len(pairs[0]), np.float32)
    return csr_array((ones, pairs), shape=(len(items), total))


def mean_features(
    store: FeatureStore, counted: csr_array
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Mean of the rows that count for each item.

    Args:
        store: Features of the n rows.
        counted: What ``training_rows`` gives.

    Returns:
        Features float32 ``[I, d]`` and bool ``[I]``, which items have any.
    """
    present = np.asarray(store.present)
    counts = counted @ present.astype(np.float32)
    features = np.empty((counted.shape[0], store.features.shape[1]), np.float32)
    for start in range(0, features.shape[1], _COLUMNS):
        block: Any = store.features[:, start : start + _COLUMNS]
        features[:, start : start + _COLUMNS] = counted @ block.astype(np.float32)
    features /= np.maximum(counts, 1)[:, None]
    return features, counts > 0
