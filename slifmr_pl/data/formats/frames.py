"""Data frames of pandas, Polars or PyArrow, taken through Arrow; none of them is imported."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from slifmr_pl.data.canonical import KINDS, Kind, RawData
from slifmr_pl.data.reader import Source
from slifmr_pl.errors import DataError

_INDEX = "__index_level_"  # what Arrow calls the index of a pandas frame


def raw_data(
    interactions: Any, items: Any = None, kg: Any = None, links: Any = None, root: Path = Path()
) -> RawData:
    """Take data frames for the tables of a data folder.

    Args:
        interactions: A frame with the columns of ``RawData``; an index is left out.
        items: Likewise, or None.
        kg: Likewise, or None.
        links: Likewise, or None.
        root: Folder that picture paths are relative to.

    Raises:
        DataError: Something is no frame, or a value is bad; names the frame and the row.
        TableError: A column is missing.
    """
    frames = dict(zip(KINDS, (interactions, items, kg, links), strict=True))
    tables = {kind: _table(kind, frame) for kind, frame in frames.items() if frame is not None}
    return Source({**tables}).read(root)


def _table(kind: Kind, frame: Any) -> pa.Table:
    try:
        table = pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        if callable(getattr(frame, "collect", None)):
            raise DataError(
                f"{type(frame).__name__} has not computed its rows",
                expected="a frame of pandas, Polars or PyArrow",
                fix="give what .collect() returns",
                path=Path(kind),
            ) from error
        raise DataError(
            f"{type(frame).__name__} is no table ({error})",
            expected="a frame of pandas, Polars or PyArrow, each column of one type",
            fix="convert mixed columns, for example with .astype(str)",
            path=Path(kind),
        ) from error
    return table.select([name for name in table.column_names if not name.startswith(_INDEX)])
