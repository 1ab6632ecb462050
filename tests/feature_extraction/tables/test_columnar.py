"""Parquet and Arrow files: read whole, in parts and row by row; what is broken is refused."""

from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from feature_extraction.errors import TableError
from feature_extraction.tables.columnar import COLUMNAR_SUFFIXES, columnar_file
from feature_extraction.tables.rows import stream_rows
from feature_extraction.tables.table_files import read_table, row_in_file, stream_table

TABLE = pa.table(
    {
        "id": pa.array(["a", "b", "c", "a"]).dictionary_encode(),
        "n": [1, 2, None, 4],
        "text": ["é", "", "x\ny", None],
    }
)


def as_file(path: Path) -> Path:
    with pa.ipc.new_file(path, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=3)
    return path


def as_stream(path: Path) -> Path:
    with pa.ipc.new_stream(path, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=3)
    return path


def as_feather(path: Path) -> Path:
    feather.write_feather(TABLE, path, compression="zstd", chunksize=3)
    return path


def as_parquet(path: Path) -> Path:
    pq.write_table(TABLE, path, row_group_size=3)
    return path


KINDS = {
    "x.arrow": as_file,
    "stream.arrow": as_stream,
    "x.ipc": as_file,
    "x.feather": as_feather,
    "X.Feather": as_feather,
    "x.parquet": as_parquet,
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_gives_the_rows_in_every_way(tmp_path: Path, name: str) -> None:
    path = KINDS[name](tmp_path / name)
    rows = TABLE.to_pylist()
    assert read_table(path, required=["id"]).to_pylist() == rows
    assert pa.concat_tables(stream_table(path)).to_pylist() == rows
    texts = [(row, values) for row, values in stream_rows(path, ["text", "id"])]
    assert texts == [(n, [row["text"], row["id"]]) for n, row in enumerate(rows, start=1)]
    assert row_in_file(path, 2) == 3
    with columnar_file(path) as file:
        batches = list(file.batches(2, ["n"]))
    assert [row for batch in batches for row in batch.to_pylist()] == [{"n": r["n"]} for r in rows]
    assert max(map(len, batches)) == 2


@pytest.mark.parametrize("name", KINDS)
def test_cut_and_foreign_files_are_refused(tmp_path: Path, name: str) -> None:
    path = KINDS[name](tmp_path / name)
    whole = path.read_bytes()
    kind = "Parquet" if name.endswith("parquet") else "Arrow"
    for content in (whole[: len(whole) // 2], b"id,n,text\na,1,x\n"):
        path.write_bytes(content)
        for read in (read_table, lambda p: list(stream_table(p))):
            with pytest.raises(TableError, match=f"cannot be read as {kind}") as caught:
                read(path)
            assert caught.value.path == path


def test_arrow_whose_bytes_are_no_text_is_refused(tmp_path: Path) -> None:
    broken = pa.table({"id": pa.array([b"a\xff"]).view(pa.string())})
    with pa.ipc.new_file(tmp_path / "x.arrow", broken.schema) as writer:
        writer.write_table(broken)
    with pytest.raises(TableError, match="Invalid UTF8"):
        read_table(tmp_path / "x.arrow")


@pytest.mark.parametrize("suffix", COLUMNAR_SUFFIXES)
def test_equal_names_separators_and_names_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    twice = pa.table([[1], [2]], names=["id", "id"])
    if suffix == ".parquet":
        pq.write_table(twice, path)
    else:
        with pa.ipc.new_file(path, twice.schema) as writer:
            writer.write_table(twice)
    with pytest.raises(TableError, match="'id' occurs more than once"):
        read_table(path)
    with pytest.raises(TableError, match="a separator ',' was given for a"):
        read_table(path, sep=",")
    with pytest.raises(TableError, match="names of columns for a file that has them"):
        read_table(path, names=["id"])


def test_arrow_file_with_another_name_is_told_its_suffix(tmp_path: Path) -> None:
    as_file(tmp_path / "x.csv")
    with pytest.raises(TableError, match="this is an Arrow file") as caught:
        read_table(tmp_path / "x.csv")
    assert caught.value.fix == "rename it to end in .arrow"
