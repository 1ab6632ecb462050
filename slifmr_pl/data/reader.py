"""The contract of a format that data come in, and what a reader of one gives: the four tables."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_extraction.tables.table_files import stream_table
from slifmr_pl.config.parts import Part
from slifmr_pl.data.canonical import (
    Kind,
    RawData,
    canonical,
    require_distinct_items,
    require_rows,
    unused_columns,
)
from slifmr_pl.data.summary import Caution
from slifmr_pl.data.table_columns import FileRows
from slifmr_pl.errors import DataError

logger = logging.getLogger(__name__)

_SHOWN_FILES = 20
_LIKE_RATINGS = (
    *("label", "labels", "ratings", "rate", "score", "scores", "stars", "overall", "like", "liked"),
    *("is_like", "feedback", "event", "event_type", "action", "behavior", "behaviour"),
)


@dataclass(frozen=True, eq=False)
class TablePiece:
    """Some rows of a table with the column names of ``RawData``, not yet checked.

    Attributes:
        table: The rows.
        place: Where they stand, for errors.
    """

    table: pa.Table
    place: FileRows


@dataclass(frozen=True, eq=False)
class FeatureArray:
    """Features that a data set brings along.

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
    """A data set in some format; its files are read while the pieces are iterated, once.

    Attributes:
        tables: Each table that there is, whole or in pieces; always ``interactions``. The names of
            the columns are those of ``RawData``, and the values as the file has them.
        features: By name of the modality; `import` makes feature stores of them.
        notes: What was repaired, left out or not used, for the user; complete once all is read.
        cautions: What of it may mislead results; likewise.
    """

    tables: dict[Kind, pa.Table | Iterable[TablePiece]]
    features: Mapping[str, FeatureArray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    cautions: list[Caution] = field(default_factory=list)

    def pieces(self, kind: Kind) -> Iterator[TablePiece]:
        """Yield the pieces of a table, each checked and in the form of ``RawData``.

        Raises:
            DataError: A value is bad, or the columns change within the table.
            TableError: A file cannot be read or lacks a column.
        """
        table = self.tables[kind]
        if isinstance(table, pa.Table):
            table = [TablePiece(table, FileRows(Path(kind), lines=range(1, len(table) + 1)))]
        schema, place, rows, unused = None, None, 0, dict[str, None]()
        for piece in table:
            place = piece.place
            checked = canonical(kind, piece.table, place)
            unused |= dict.fromkeys(unused_columns(kind, piece.table))
            if schema is not None and checked.schema != schema:
                raise DataError(
                    f"the columns {', '.join(checked.column_names)} here, "
                    f"{', '.join(schema.names)} before",
                    expected="the same columns in every row",
                    fix="write the file with all columns in all rows",
                    path=place.path,
                    row=place.row(0),
                )
            schema = checked.schema
            rows += len(checked)
            yield TablePiece(checked, place)
        if kind == "interactions" and not rows:
            require_rows(pa.table({}), place.path if place else Path())
        if unused:
            self.notes.append(not_used(unused, f"the {kind}"))
        if kind == "interactions" and schema is not None and "rating" not in schema.names:
            self.cautions.extend(unread_ratings(unused))

    def read(self, root: Path) -> RawData:
        """Read everything; notes are logged.

        Args:
            root: The folder that the data are of.

        Raises:
            DataError: As of ``pieces``, or an item is described twice.
            TableError: As of ``pieces``.
        """
        tables: dict[Kind, pa.Table] = {}
        for kind in self.tables:
            pieces = list(self.pieces(kind))
            tables[kind] = pa.concat_tables([piece.table for piece in pieces])
            if kind == "items":
                require_distinct_items([(piece.table, piece.place) for piece in pieces])
        for note in self.notes:
            logger.info("%s: %s", root, note)
        data = RawData.of(tables, root)
        return replace(data, notes=tuple(self.notes), cautions=tuple(self.cautions))


class Reader(Part, ABC):
    """A format that data come in. A reader of your own is a subclass with ``tables``.

    Its options are arguments of its constructor: plain values, so that a configuration can name
    them. In YAML, ``data.format`` is then ``{class_path: my_package.MyReader, init_args: {…}}``;
    ``import my_package.MyReader SOURCE OUT`` turns such data into a data folder, with the options
    as flags.
    """

    reads_files: ClassVar[bool] = False
    """Whether a data set may be a single file; otherwise only folders are taken."""

    @abstractmethod
    def tables(self, path: Path) -> Source:
        """Open a data set; errors name files and rows, see ``slifmr_pl.errors.DataError``.

        Small tables may be given whole. For large ones give pieces, which are read when they are
        asked for; ``table_pieces`` makes them of a table file.

        Args:
            path: Its folder, or its file if ``reads_files``. It exists.
        """

    def recognises(self, root: Path) -> bool:
        """Whether a folder holds this format, so that ``format: auto`` reads it.

        Only what ``tables`` can read without options counts; by default nothing does, and the
        reader has to be named.
        """
        return False

    def open(self, path: Path) -> Source:
        """Open a data set that may not be there.

        Raises:
            DataError: It is not, or it is a file where the reader takes folders only.
        """
        if not path.exists():
            raise DataError(
                "the path does not exist", expected="a data set", fix="check the path", path=path
            )
        if not self.reads_files and not path.is_dir():
            raise DataError(
                "this is a file",
                expected=f"a folder, as {type(self).__name__} reads it",
                fix="name the folder",
                path=path,
            )
        return self.tables(path)

    def read(self, path: Path) -> RawData:
        """Read everything that a data set holds, but its features.

        Raises:
            DataError: The data set is not there, or holds bad values.
            TableError: A file cannot be read or lacks a column.
        """
        return self.open(path).read(path if path.is_dir() else path.parent)


def renamed(table: pa.Table, ours: Mapping[str, str], path: Path) -> pa.Table:
    """Give columns the names of ``RawData``.

    Args:
        table: Rows of a file.
        ours: New names by those in the file; columns that are not there are none of its.
        path: The file.

    Raises:
        DataError: Another column has a new name already.
    """
    names = [ours.get(name, name) for name in table.column_names]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        theirs = next(column for column, name in ours.items() if name == twice)
        raise DataError(
            f"both {theirs!r}, which is mapped to {twice!r}, and {twice!r} itself",
            expected="one of them",
            fix=f"remove or rename {twice!r}, or leave the mapping out",
            path=path,
        )
    return table.rename_columns(names)


def unread_ratings(unused: Iterable[str]) -> list[Caution]:
    """Say which columns of interactions tell likes from others by their name, and are not read.

    Args:
        unused: Columns that nobody reads.
    """
    return [
        Caution(
            f"the column {name} of the interactions is not read, and may tell likes from others",
            "every row trains as a like; call it rating (import table: --rating-column "
            f"{name}) if it is one, and set data.filters.minimum_rating",
        )
        for name in unused
        if name.lower() in _LIKE_RATINGS
    ]


def not_used(names: Collection[str], where: str, what: str = "column") -> str:
    """A note that names what a reader leaves out.

    Args:
        names: One at least.
        where: What has them.
        what: What they are.
    """
    several = len(names) > 1
    return (
        f"the {what}{'s' if several else ''} {', '.join(names)} of {where} "
        f"{'are' if several else 'is'} not used"
    )


def other_files(folder: Path, used: Iterable[Path]) -> list[str]:
    """A note that names the files of a folder that a reader does not use, if there are any."""
    known = {path.name for path in used}
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name not in known)
    names = [name for name in names if not name.startswith(".")]
    more = f" and {len(names) - _SHOWN_FILES} more" if len(names) > _SHOWN_FILES else ""
    return [f"not read: {', '.join(names[:_SHOWN_FILES])}{more}"] if names else []


def table_pieces(
    path: Path,
    renamed: Callable[[pa.Table], pa.Table] = lambda table: table,
    sep: str | None = None,
    names: Sequence[str] | None = None,
) -> Iterator[TablePiece]:
    """Read a table file (CSV, TSV, Parquet, JSON lines) in pieces.

    Args:
        path: The file.
        renamed: Gives a piece the column names of ``RawData``.
        sep: Separator, if the suffix does not tell.
        names: Of the columns of a text file without a header.

    Raises:
        TableError: The file cannot be read.
    """
    first = 0 if names is None else -1  # rows are counted after a header
    for table in stream_table(path, sep=sep, names=names):
        yield TablePiece(renamed(table), FileRows(path, first, sep=sep))
        first += table.num_rows


def contents_of(folder: Path) -> str:
    """What a folder holds, for a message."""
    names = sorted(path.name for path in folder.iterdir())
    return f"found {', '.join(names[:20])}" if names else "the folder is empty"
