"""Read Parquet and Arrow (Feather) files in batches of rows."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from feature_extraction.errors import TableError
from feature_extraction.tables.delimited import require_distinct

ARROW_SUFFIXES = (".feather", ".arrow", ".ipc")
COLUMNAR_SUFFIXES = (".parquet", *ARROW_SUFFIXES)
"""Suffixes of files that hold columns with types; they are never compressed as a whole."""

_FILE_MARK = b"ARROW1"  # what an Arrow file begins with; a stream of batches has no mark


def is_columnar(path: Path) -> bool:
    """Whether a file's name says that it holds columns with types."""
    return path.suffix.lower() in COLUMNAR_SUFFIXES


@dataclass(frozen=True, eq=False)
class ColumnarFile:
    """An opened file.

    Attributes:
        schema: Names and types of its columns.
    """

    schema: pa.Schema
    _source: pq.ParquetFile | pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader

    def batches(self, rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows once, at most so many at a time.

        Args:
            rows: Most rows of a batch.
            columns: Which columns; None takes all.
        """
        if isinstance(self._source, pq.ParquetFile):
            yield from self._source.iter_batches(rows, columns=columns)
            return
        for batch in self._arrow_batches():
            chosen = batch if columns is None else batch.select(list(columns))
            for start in range(0, len(batch), rows):
                yield chosen.slice(start, rows)

    def read(self) -> pa.Table:
        """All rows at once."""
        if isinstance(self._source, pq.ParquetFile):
            return self._source.read()
        return pa.Table.from_batches(list(self._arrow_batches()), self.schema)

    def _arrow_batches(self) -> Iterator[pa.RecordBatch]:
        source = self._source
        if isinstance(source, pa.ipc.RecordBatchFileReader):
            batches = map(source.get_batch, range(source.num_record_batches))
        else:
            batches = iter(source)
        for batch in batches:
            batch.validate(full=True)  # the bytes are taken as they are
            yield batch


@contextmanager
def columnar_file(path: Path, sep: str | None = None) -> Generator[ColumnarFile]:
    """Opens a Parquet or Arrow file whose columns have distinct names.

    Raises:
        TableError: It cannot be read, then or within the context; or a separator was given.
    """
    kind = "Parquet" if path.suffix.lower() == ".parquet" else "Arrow"
    if sep is not None:
        raise TableError(
            f"a separator {sep!r} was given for {'a' if kind == 'Parquet' else 'an'} {kind} file",
            expected="no separator",
            fix="leave the separator out",
            path=path,
        )
    try:
        with _opened(path) as source:
            schema = source.schema_arrow if isinstance(source, pq.ParquetFile) else source.schema
            # Before any row, because reading fails obscurely on equal names.
            require_distinct(schema.names, path)
            yield ColumnarFile(schema, source)
    except (pa.ArrowException, OSError) as error:
        raise TableError(
            f"cannot be read as {kind} ({error})",
            expected=f"a complete {kind} file",
            fix="write the file again",
            path=path,
        ) from error


@contextmanager
def _opened(
    path: Path,
) -> Generator[pq.ParquetFile | pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader]:
    if path.suffix.lower() == ".parquet":
        with pq.ParquetFile(path) as parquet:
            yield parquet
        return
    with path.open("rb") as file:
        is_file = file.read(len(_FILE_MARK)) == _FILE_MARK
    opened = pa.ipc.open_file if is_file else pa.ipc.open_stream
    with pa.OSFile(str(path)) as content, opened(content) as arrow:
        yield arrow
