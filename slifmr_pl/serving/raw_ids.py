"""Raw ids of a trained model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import CheckpointError, DataError
from slifmr_pl.module import SlifMrModule


def catalogue_of(module: SlifMrModule, path: str | Path | None = None) -> Catalogue:
    """The raw ids of a module.

    Args:
        module: Trained, or loaded from a checkpoint.
        path: Where it comes from, for the error.

    Raises:
        CheckpointError: If it was made from graphs without raw ids.
    """
    catalogue = None if module.inputs is None else module.inputs.catalogue
    if catalogue is None:
        raise CheckpointError(
            "the model has no raw ids",
            expected="a model that was trained with a SlifMrDataModule",
            fix="train with `lightning_cli.py fit`",
            path=path,
        )
    return catalogue


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
