"""What a format finds in its files: the four tables in parts, so that size is no matter."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_extraction.tables.table_files import stream_table
from slifmr_pl.data.canonical import Kind, RawData, canonical, require_distinct_items, require_rows
from slifmr_pl.data.table_columns import Origin
from slifmr_pl.errors import DataError


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of a table with the column names of ``RawData``, not yet checked.

    Attributes:
        table: The rows.
        origin: Where they stand.
    """

    table: pa.Table
    origin: Origin


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """Features that a source brings along.

    Attributes:
        path: Their file.
        ids: n distinct item ids.
        features: ``[n, d]`` float, row i of item i.
    """

    path: Path
    ids: list[str]
    features: npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Source:
    """A data set in a foreign format; its files are read while the parts are iterated, once.

    Attributes:
        tables: Parts of each table that there is; always ``interactions``.
        features: By name of the modality.
        notes: What the reader repaired or left out, for the user; complete once all is read.
    """

    tables: dict[Kind, Iterable[Part]]
    features: Mapping[str, ItemFeatures] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def parts(self, kind: Kind) -> Iterator[tuple[pa.Table, Origin]]:
        """Yield the parts of a table, each checked and in the form of ``RawData``.

        Raises:
            DataError: A value is bad, or the columns change within the table.
            TableError: A file cannot be read or lacks a column.
        """
        schema, origin, rows = None, None, 0
        for part in self.tables[kind]:
            origin = part.origin
            table = canonical(kind, part.table, origin)
            if schema is not None and table.schema != schema:
                raise DataError(
                    f"the columns {', '.join(table.column_names)} here, "
                    f"{', '.join(schema.names)} before",
                    expected="the same columns in every row",
                    fix="write the file with all columns in all rows",
                    path=origin.path,
                    row=origin.row(0),
                )
            schema = table.schema
            rows += len(table)
            yield table, origin
        if kind == "interactions" and not rows:
            require_rows(pa.table({}), origin.path if origin else Path())

    def read(self, root: Path) -> RawData:
        """Read everything.

        Args:
            root: The folder that the data are of.

        Raises:
            DataError: As of ``parts``, or an item is described twice.
            TableError: As of ``parts``.
        """
        tables: dict[Kind, pa.Table] = {}
        for kind in self.tables:
            parts = list(self.parts(kind))
            tables[kind] = pa.concat_tables([table for table, _ in parts])
            if kind == "items":
                require_distinct_items(tables[kind], parts[0][1])
        return RawData.of(tables, root)


def parts_of(
    path: Path, renamed: Callable[[pa.Table], pa.Table], sep: str | None = None
) -> Iterator[Part]:
    """Read a table file in parts.

    Args:
        path: The file.
        renamed: Gives a part the column names of ``RawData``.
        sep: Separator, if the suffix does not tell.

    Raises:
        TableError: The file cannot be read.
    """
    first = 0
    for table in stream_table(path, sep=sep):
        yield Part(renamed(table), Origin(path, first))
        first += table.num_rows


def found_in(folder: Path) -> str:
    """What a folder holds, for a message."""
    names = sorted(path.name for path in folder.iterdir())
    return f"found {', '.join(names[:20])}" if names else "the folder is empty"
