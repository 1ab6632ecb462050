"""Which users get lists, and of which items."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from feature_extraction.tables.table_files import read_table, row_in_file
from slifmr_pl.data.table_columns import FileRows, id_column
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class PredictRequest:
    """What `predict` ranks for whom.

    Attributes:
        users: Rows of the users who get a list, int64, in their order; None for all.
        items: bool ``[I]``, items that may be recommended; None for all.
        exclude_seen: Whether a user's own items are left out.
    """

    users: npt.NDArray[np.int64] | None = None
    items: npt.NDArray[np.bool_] | None = None
    exclude_seen: bool = True


def allowed_items(
    n_items: int,
    candidates: npt.NDArray[np.int64] | None = None,
    blocked: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.bool_] | None:
    """Items that may be recommended, bool ``[I]``; None for all.

    Args:
        n_items: I.
        candidates: Rows that may be recommended; None for all.
        blocked: Rows that may not, candidates or not.

    Raises:
        ConfigError: Nothing is left.
    """
    if candidates is None and blocked is None:
        return None
    allowed = np.full(n_items, candidates is None)
    if candidates is not None:
        allowed[candidates] = True
    if blocked is not None:
        allowed[blocked] = False
    if not allowed.any():
        raise ConfigError(
            "no item may be recommended",
            expected="a candidate that is not blocked",
            fix="add candidates, or block fewer items",
        )
    return allowed


def read_rows(path: str | Path, column: str, vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
    """Rows of the ids in one column of a table file, each once and ascending.

    Args:
        path: `.csv`, `.tsv` or `.parquet` with that column; others are not looked at.
        column: Its name.
        vocabulary: What the ids are looked up in.

    Raises:
        TableError: The file cannot be read, or has no such column.
        DataError: It holds no id, or one that the model does not know.
    """
    path = Path(path)
    ids = id_column(read_table(path, required=[column]), column, FileRows(path))
    if not len(ids):
        raise DataError(f"there is no {column}", expected="ids", fix="add some", path=path)
    rows = vocabulary.encode(ids, unknown=-1)
    if (rows < 0).any():
        first = int(np.flatnonzero(rows < 0)[0])
        raise DataError(
            f"{column} {ids[first].as_py()!r} is none that the model was trained with "
            f"({int((rows < 0).sum())} of {len(rows)} are not)",
            expected=f"{column}s of the training data, after its filters",
            fix="remove these rows, or train on data that has them",
            path=path,
            row=row_in_file(path, first),
        )
    return np.unique(rows)
