"""Rows of raw ids."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import DataError


class RowLookup:
    """Rows of raw ids by a dictionary: `Vocabulary.encode` would hash all its ids at each call."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._rows = {raw: row for row, raw in enumerate(vocabulary.ids.to_pylist())}

    def rows(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Rows int64 [n].

        Raises:
            DataError: If an id is unknown, or one string was given instead of several.
        """
        if isinstance(ids, str):
            raise DataError(f"one string, {ids!r}", expected="a list of ids", fix=f"give [{ids!r}]")
        for raw in ids:
            if not isinstance(raw, str):
                raise DataError(
                    f"{raw!r} is a {type(raw).__name__}",
                    expected="ids as text, as the data has them",
                    fix=f"give {str(raw)!r}",
                )
        try:
            return np.array([self._rows[raw] for raw in ids], dtype=np.int64)
        except KeyError:
            return self._vocabulary.encode(ids)  # says which, and what it may have meant
