import csv
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_extraction.errors import TableError
from feature_extraction.tables.table_files import read_table, row_in_file


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# Control characters are left out: a lone carriage return ends a line for every reader.
FIELD = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n"), max_size=8)


@given(rows=st.lists(st.tuples(FIELD, FIELD), max_size=8))
def test_quoted_csv_comes_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("id", "text"), *rows])
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(text.getvalue().encode())
    table = read_table(path)
    assert list(zip(*table.to_pydict().values(), strict=True)) == rows


def test_text_columns_stay_strings(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b"id,flag,day,gap,word\n007,true,2020-01-01,,NA\n")
    table = read_table(path)
    assert set(table.schema.types) == {pa.string()}
    assert table.to_pylist() == [
        {"id": "007", "flag": "true", "day": "2020-01-01", "gap": "", "word": "NA"}
    ]


def test_bom_crlf_and_blank_lines_leave_no_trace(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", b"\xef\xbb\xbfa\tb\r\n1\t2\r\n\r\n3\t4\r\n")
    assert read_table(path).to_pydict() == {"a": ["1", "3"], "b": ["2", "4"]}


@pytest.mark.parametrize("content", [b"a,b", b"a,b\n"])
def test_header_alone_is_a_table_without_rows(tmp_path: Path, content: bytes) -> None:
    table = read_table(write(tmp_path, "a.csv", content))
    assert (table.column_names, table.num_rows) == (["a", "b"], 0)


@pytest.mark.parametrize("suffix", [".inter", ".item", ".kg", ".link", ".user"])
def test_quotes_are_ordinary_in_atomic_files(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, f"a{suffix}", b'a:token\tb:token_seq\n1\t"Open\n2\t12" single\n')
    assert read_table(path)["b:token_seq"].to_pylist() == ['"Open', '12" single']


def test_separator_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", b"a|b\n1|2\n")
    assert read_table(path, sep="|").to_pylist() == [{"a": "1", "b": "2"}]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2], "x": [0.5, None]}), tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet", required=["id"])
    assert table.schema.types == [pa.int64(), pa.float64()]


def test_field_larger_than_a_megabyte_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b'id,text\n1,"' + b"x\n" * 1_000_000 + b'"\n2,y\n')
    table = read_table(path)
    assert [len(text) for text in table["text"].to_pylist()] == [2_000_000, 1]


@pytest.mark.parametrize(
    ("name", "content", "row", "found"),
    [
        ("a.csv", b"a,b\n1,2\n\n3\n", 4, "1 fields"),
        ("a.csv", b'a,b\n1,"x\ny"\n1,2,3\n', 4, "3 fields"),
        ("a.item", b"a\tb\n1\t2\n3\n", 3, "1 fields"),
        ("a.csv", b"a,b\n1,2\n3,\xe9\n", 3, "0xe9 is not UTF-8"),
        ("a.csv", b"\xff\xfea\x00,\x00", 1, "a NUL byte"),
        ("a.csv", b'a,b\n1,2\n3,"4\n5,6\n', 3, "quoted field is broken"),
        ("a.csv", b'a,b\n1,2\n3,"4', 3, "quoted field is broken"),
        ("a.tsv", b'a\tb\n1\t"x\n2\ty\n3\t"z\n', 2, "quoted field is broken"),
        ("a.csv", b"", None, "empty"),
        ("a.csv", b"\n\n", None, "no header"),
        ("a.csv", b"a,b,a\n1,2,3\n", None, "'a' occurs more than once"),
        ("a.parquet", b"PAR1", None, "cannot be read as Parquet"),
        ("a.parquet", b"", None, "empty"),
        ("a.xlsx", b"x", None, "suffix '.xlsx' is not known"),
    ],
)
def test_bad_file_is_refused_with_fault_and_row(
    tmp_path: Path, name: str, content: bytes, row: int | None, found: str
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(TableError, match=found) as caught:
        read_table(path)
    assert (caught.value.path, caught.value.row) == (path, row)


def test_missing_column_lists_those_found_and_the_closest(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b"usr_id,item_id\n1,2\n")
    with pytest.raises(TableError, match="found 'usr_id', 'item_id'") as caught:
        read_table(path, required=["item_id", "user_id"])
    assert "rename 'usr_id' to 'user_id'" in caught.value.fix


def test_missing_file_names_the_closest(tmp_path: Path) -> None:
    write(tmp_path, "items.csv", b"a\n1\n")
    with pytest.raises(TableError, match=r"did you mean 'items.csv'"):
        read_table(tmp_path / "itms.csv")


def test_folder_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(TableError, match="this is a folder"):
        read_table(tmp_path / "a.csv")


def test_equal_parquet_columns_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(TableError, match="'a' occurs more than once"):
        read_table(tmp_path / "a.parquet")


@pytest.mark.parametrize("sep", ["", ";;", '"', "\n"])
def test_bad_separator_is_refused(tmp_path: Path, sep: str) -> None:
    with pytest.raises(TableError, match="cannot separate fields"):
        read_table(write(tmp_path, "a.csv", b"a\n1\n"), sep=sep)


def test_separator_for_parquet_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1]}), tmp_path / "a.parquet")
    with pytest.raises(TableError, match="separator ',' was given for a Parquet file"):
        read_table(tmp_path / "a.parquet", sep=",")


def test_row_in_file_counts_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b'a,b\n1,"2\n2"\n\n3,4\n')
    assert [row_in_file(path, index) for index in range(3)] == [2, 5, None]
