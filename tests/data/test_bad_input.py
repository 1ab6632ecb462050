"""Broken input: each case gives an error that says what, where and how to mend it, or a repair.

A case is files, how they are read, and what the error has to name (or what is read in the end).
"""

import gzip
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slifmr_pl.data.dataset import FilterConfig, RecommendationData, SplitConfig, build_dataset
from slifmr_pl.data.formats import BUILT_IN
from slifmr_pl.data.formats.data_folder import read
from slifmr_pl.data.formats.importing import import_data
from slifmr_pl.errors import UserFacingError
from tests.data.formats.folders import write

GOOD = "user_id,item_id\na,1\na,2\nb,1\nb,2\n"
INTER = "user_id:token\titem_id:token\na\t1\n"
TRAIN, TEST = "0 0 1\n1 0\n", "0 2\n"
HETREC = {
    "user_artists.dat": "userID\tartistID\tweight\n2\t51\t13\n",
    "artists.dat": "id\tname\turl\tpictureURL\n51\ta\tu\tp\n",
    "tags.dat": "tagID\ttagValue\n1\tpop\n",
    "user_taggedartists.dat": "userID\tartistID\ttagID\tday\tmonth\tyear\n2\t51\t1\t1\t4\t2009\n",
}
MMREC = "userID\titemID\tx_label\n0\t0\t0\n0\t1\t1\n"
REVIEW = '{"reviewerID": "a", "asin": "1", "overall": 5, "unixReviewTime": 1}\n'
BOM = b"\xef\xbb\xbf"


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def not_utf8() -> bytes:
    bad = pa.array([b"a\xff", b"b"]).view(pa.string())
    return parquet(user_id=bad, item_id=["1", "2"])


def npy(array: Any) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=True)
    return sink.getvalue()


@dataclass(frozen=True)
class Broken:
    """Files that cannot be used.

    Attributes:
        files: Contents by name; what ends in ``.gz`` is compressed.
        found: What the message has to say.
        path: The file that it has to name; None for the folder.
        row: The line or row that it has to name.
        format: ``auto`` reads the folder, another one imports it.
    """

    files: dict[str, str | bytes]
    found: str
    path: str | None = None
    row: int | None = None
    format: str = "auto"


def rows(content: str | bytes, found: str, row: int | None = None, name: str = "csv") -> Broken:
    return Broken({f"interactions.{name}": content}, found, f"interactions.{name}", row)


def beside(kind: str, content: str, found: str, row: int | None = None) -> Broken:
    return Broken({"interactions.csv": GOOD, f"{kind}.csv": content}, found, f"{kind}.csv", row)


def foreign(
    format: str, files: dict[str, str | bytes], found: str, path: str | None, row: int | None = None
) -> Broken:
    return Broken(files, found, path, row, format)


BROKEN: dict[str, Broken] = {
    # one table, whatever it holds
    "semicolons": rows(
        GOOD.replace(",", ";"), "column 'user_id' is missing; found 'user_id;item_id'"
    ),
    "tabs in csv": rows(GOOD.replace(",", "\t"), "column 'user_id' is missing"),
    "too few fields": rows(GOOD + "c\n", "1 fields: 'c'", 6),
    "too many fields": rows(GOOD + "c,1,2\n", "3 fields: 'c,1,2'", 6),
    "unquoted comma": rows(GOOD + "c,Me, myself\n", "3 fields", 6),
    "open quote": rows(GOOD + 'c,"1\nd,2\n', "a quoted field is broken", 6),
    "no header": rows("a,1\nb,2\n", "column 'user_id' is missing; found 'a', '1'"),
    "empty file": rows("", "the file is empty"),
    "blank lines": rows("\n\n\n", "the file holds no header"),
    "header only": rows("user_id,item_id\n", "no interactions, only a header"),
    "header without an end": rows("user_id,item_id", "no interactions, only a header"),
    "column twice": rows("user_id,item_id,user_id\n1,2,3\n", "'user_id' occurs more than once"),
    "misspelt column": rows("user_id,itemid\n1,2\n", "rename 'itemid' to 'item_id'"),
    "capital column": rows(
        "User_ID,item_id\n1,2\n", "column 'user_id' is missing; found 'User_ID'"
    ),
    "latin-1": rows(GOOD.encode() + b"caf\xe9,1\n", "byte 0xe9 is not UTF-8", 6),
    "latin-1 header": rows(b"user_id,item_id,\xe9\na,1,2\n", "byte 0xe9 is not UTF-8", 1),
    "utf-16": rows(GOOD.encode("utf-16"), "a NUL byte", 1),
    "NUL": rows(GOOD + "c\0,1\n", "a NUL byte", 6),
    "binary": rows(bytes(range(1, 256)) * 20, "not UTF-8", 2),
    "gzip named csv": rows(gzip.compress(GOOD.encode()), "the file is compressed by gzip"),
    "zip named csv": rows(b"PK\x03\x04" + b"x" * 99, "a zip archive or a spreadsheet"),
    "parquet named csv": rows(parquet(user_id=["a"], item_id=["1"]), "this is a Parquet file"),
    "csv named parquet": rows(GOOD, "cannot be read as Parquet", name="parquet"),
    "truncated parquet": rows(
        parquet(user_id=["a"], item_id=["1"])[:-20], "cannot be read as Parquet", name="parquet"
    ),
    "parquet without rows": rows(
        parquet(user_id=pa.array([], pa.string()), item_id=pa.array([], pa.string())),
        "no interactions",
        name="parquet",
    ),
    "ids as floats": rows(
        parquet(user_id=[1.0, 2.0], item_id=["1", "2"]), "'user_id' holds double", name="parquet"
    ),
    "ids as booleans": rows(
        parquet(user_id=[True], item_id=["1"]), "'user_id' holds bool", name="parquet"
    ),
    "ids as lists": rows(
        parquet(user_id=[["a"]], item_id=["1"]), "'user_id' holds list", name="parquet"
    ),
    "parquet text not UTF-8": rows(
        not_utf8(), "'user_id' holds text that is not UTF-8", name="parquet"
    ),
    "id missing in parquet": rows(
        parquet(user_id=["a", None], item_id=["1", "2"]), "user_id is empty", 2, name="parquet"
    ),
    "id empty": rows(GOOD + ",1\n", "user_id is empty", 6),
    "id blank": rows(GOOD + "c,\u00a0 \n", "item_id is empty", 6),
    "rating word": rows("user_id,item_id,rating\na,1,good\n", "rating is 'good', which is no", 2),
    "rating NaN": rows("user_id,item_id,rating\na,1,4\na,2,nan\n", "rating is 'nan'", 3),
    "rating infinite": rows("user_id,item_id,rating\na,1,-inf\n", "rating is '-inf'", 2),
    "rating empty": rows("user_id,item_id,rating\na,1,\n", "rating is ''", 2),
    "rating with a comma": rows('user_id,item_id,rating\na,1,"4,5"\n', "rating is '4,5'", 2),
    "timestamp as a date": rows(
        "user_id,item_id,timestamp\na,1,3.5\nb,1,31/12/2020\n", "timestamp is '31/12/2020'", 3
    ),
    "timestamp list": rows(
        parquet(user_id=["a"], item_id=["1"], timestamp=[[1]]),
        "the column 'timestamp' holds list",
        name="parquet",
    ),
    "unknown part": rows("user_id,item_id,split\na,1,dev\n", "split is 'dev'", 2),
    "unknown label": rows("user_id,item_id,x_label\na,1,3\n", "x_label is '3'", 2),
    "two splits": rows(
        "user_id,item_id,split,x_label\na,1,test,2\n", "both columns split and x_la"
    ),
    "jsonl broken": rows(
        '{"user_id": "a", "item_id": "1"}\n{"user_id": \n', "cannot be read", 2, "jsonl"
    ),
    "jsonl list": rows("[1, 2]\n", "the line holds no object", 1, "jsonl"),
    "jsonl nested without end": rows("[" * 100_000 + "\n", "the line cannot be read", 1, "jsonl"),
    "jsonl id float": rows(
        '{"user_id": 1.5, "item_id": "1"}\n', "'user_id' holds double", None, "jsonl"
    ),
    "jsonl id missing": rows(
        '{"user_id": "a", "item_id": "1"}\n\n{"item_id": "2"}\n', "user_id is empty", 3, "jsonl"
    ),
    "line without end": rows(
        b"user_id,item_id\n" + b"a" * (17 << 20), "a line of more than 16 MiB", 2
    ),
    # folders
    "nothing": Broken({}, "the folder is empty"),
    "other files": Broken({"readme.md": "x"}, "no interactions; found readme.md"),
    "two formats": Broken(
        {"interactions.csv": GOOD, "toy.inter": INTER}, "in the formats layout and recbole"
    ),
    "same table twice": Broken(
        {"interactions.csv": GOOD, "interactions.parquet": b""}, "several files named interactions"
    ),
    "two data sets": Broken({"a.inter": INTER, "b.inter": INTER}, r"2 data sets end in .inter"),
    # beside the interactions
    "item twice": beside("items", "item_id,t\n1,a\n1,b\n", "item_id '1' occurs for the second", 3),
    "items without ids": beside("items", "id,t\n1,a\n", "column 'item_id' is missing"),
    "fact without relation": beside(
        "kg", "head_id,tail_id\na,b\n", "column 'relation_id' is missing"
    ),
    "fact without tail": beside("kg", "head_id,relation_id,tail_id\na,r,\n", "tail_id is empty", 2),
    "link without entity": beside("links", "item_id,entity_id\n1,\n", "entity_id is empty", 2),
    "knowledge twice": Broken(
        {"interactions.csv": GOOD, "kg.csv": "x", "kg.tsv": "x"}, "several files named kg"
    ),
    "link without a column": beside("links", "item_id\n1\n", "column 'entity_id' is missing"),
    # RecBole
    "field without type": foreign(
        "auto",
        {"toy.inter": "user_id\titem_id:token\n1\t2\n"},
        "'user_id' has the type ''",
        "toy.inter",
        1,
    ),
    "field of unknown type": foreign(
        "auto",
        {"toy.inter": "user_id:int\titem_id:token\n1\t2\n"},
        "has the type 'int'",
        "toy.inter",
        1,
    ),
    "field twice": foreign(
        "auto",
        {"toy.inter": "user_id:token\tuser_id:float\n1\t2\n"},
        "a field occurs twice",
        "toy.inter",
        1,
    ),
    "spaces for tabs": foreign(
        "auto",
        {"toy.inter": "user_id:token item_id:token\n1 2\n"},
        "the fields seem to be separated by spaces: 'user_id:token item_id:token'",
        "toy.inter",
        1,
    ),
    "part of a split missing": foreign(
        "recbole", {"a.train.inter": INTER}, "of the parts of the split only a.train.inter", None
    ),
    "split and whole": foreign(
        "recbole", {"a.train.inter": INTER, "a.inter": INTER}, "a.inter beside a.train.inter", None
    ),
    "split in a part": foreign(
        "recbole",
        {
            "a.train.inter": "user_id:token\titem_id:token\tsplit:token\na\t1\ttest\n",
            "a.test.inter": INTER,
        },
        "the field 'split' in a file that is one part",
        "a.train.inter",
        1,
    ),
    # KGAT
    "user no number": foreign(
        "kgat", {"train.txt": "x 1\n", "test.txt": TEST}, "the user 'x'", "train.txt", 1
    ),
    "item negative": foreign(
        "kgat", {"train.txt": TRAIN + "2 -1\n", "test.txt": TEST}, "the item '-1'", "train.txt", 3
    ),
    "no test part": foreign("kgat", {"train.txt": TRAIN}, "no train.txt and test.txt", None),
    "no items at all": foreign(
        "kgat", {"train.txt": "0\n", "test.txt": "1\n"}, "no interactions", "test.txt"
    ),
    "fact of two": foreign(
        "kgat",
        {"train.txt": TRAIN, "test.txt": TEST, "kg_final.txt": "0 0 1\n0 1\n"},
        "2 fields: '0 1'",
        "kg_final.txt",
        2,
    ),
    "item not in the list": foreign(
        "kgat",
        {"train.txt": TRAIN, "test.txt": TEST, "item_list.txt": "org_id remap_id\na 0\nb 1\n"},
        "the item '2'",
        "test.txt",
        1,
    ),
    "list without header": foreign(
        "kgat",
        {"train.txt": TRAIN, "test.txt": TEST, "item_list.txt": "a 0\nb 1\n"},
        "the header 'a 0'",
        "item_list.txt",
        1,
    ),
    "list with a number twice": foreign(
        "kgat",
        {"train.txt": TRAIN, "test.txt": TEST, "user_list.txt": "org_id remap_id\na 0\nb 0\n"},
        "the line 'b 0'",
        "user_list.txt",
        3,
    ),
    # MMRec
    "features of other items": foreign(
        "mmrec",
        {
            "a.inter": MMREC,
            "i_id_mapping.csv": "asin\titemID\nx\t0\ny\t1\n",
            "image_feat.npy": npy(np.ones((3, 2))),
        },
        "3 rows",
        "image_feat.npy",
    ),
    "features of two lengths": foreign(
        "mmrec",
        {
            "a.inter": MMREC,
            "image_feat.npy": npy(np.ones((3, 2))),
            "text_feat.npy": npy(np.ones((2, 2))),
        },
        "2 rows",
        "text_feat.npy",
    ),
    "item beyond the features": foreign(
        "mmrec",
        {"a.inter": MMREC + "0\t2\t2\n", "image_feat.npy": npy(np.ones((2, 2)))},
        "item '2'",
        "a.inter",
        4,
    ),
    "huge item": foreign(
        "mmrec",
        {"a.inter": MMREC + f"0\t{10**30}\t2\n", "image_feat.npy": npy(np.ones((2, 2)))},
        "item '1000",
        "a.inter",
        4,
    ),
    "negative item": foreign(
        "mmrec",
        {"a.inter": MMREC + "0\t-1\t2\n", "image_feat.npy": npy(np.ones((2, 2)))},
        "item '-1'",
        "a.inter",
        4,
    ),
    "feature NaN": foreign(
        "mmrec",
        {"a.inter": MMREC, "image_feat.npy": npy(np.array([[1, 2], [3, np.nan]]))},
        "features of item '1' hold nan",
        "image_feat.npy",
        2,
    ),
    "feature objects": foreign(
        "mmrec",
        {"a.inter": MMREC, "image_feat.npy": npy(np.array([[1], [None]], dtype=object))},
        "Python objects in dtype",
        "image_feat.npy",
    ),
    "feature text": foreign(
        "mmrec",
        {"a.inter": MMREC, "image_feat.npy": npy(np.array([["a"]]))},
        "array of <U1",
        "image_feat.npy",
    ),
    "features no array": foreign(
        "mmrec",
        {"a.inter": MMREC, "image_feat.npy": b"PK\x03\x04x"},
        "cannot be read",
        "image_feat.npy",
    ),
    "mapping with a gap": foreign(
        "mmrec",
        {"a.inter": MMREC, "u_id_mapping.csv": "user_id\tuserID\nx\t1\n"},
        "the number '1'",
        "u_id_mapping.csv",
        2,
    ),
    "mapping with an id twice": foreign(
        "mmrec",
        {"a.inter": MMREC, "i_id_mapping.csv": "asin\titemID\nx\t0\nx\t1\n"},
        "asin 'x' occurs for the second time",
        "i_id_mapping.csv",
        3,
    ),
    # MovieLens
    "colons lost": foreign(
        "movielens", {"ratings.dat": "1:2:3:4\n"}, "1 fields: '1:2:3:4'", "ratings.dat", 1
    ),
    "two editions": foreign(
        "movielens",
        {"ratings.dat": "1::2::3::4\n", "u.data": "x"},
        "both u.data and ratings.dat",
        None,
    ),
    "no edition": foreign("movielens", {"movies.csv": "x"}, "no ratings; found movies.csv", None),
    "csv without times": foreign(
        "movielens",
        {"ratings.csv": "userId,movieId,rating\n1,2,3\n"},
        "'timestamp' is missing",
        "ratings.csv",
    ),
    # HetRec
    "tags lost": foreign("hetrec", {"user_artists.dat": "x"}, "no artists.dat, tags.dat", None),
    "columns of another file": foreign(
        "hetrec",
        {**HETREC, "artists.dat": "id\tname\turl\timage\n"},
        "the columns id, name, url, image",
        "artists.dat",
        1,
    ),
    "a count that is none": foreign(
        "hetrec",
        {**HETREC, "user_artists.dat": HETREC["user_artists.dat"] + "3\t51\tmany\n"},
        "'many'",
        "user_artists.dat",
        3,
    ),
    # Amazon
    "metadata for reviews": foreign(
        "amazon",
        {"Baby.json": '{"asin": "1", "title": "t"}\n'},
        "a line with the keys asin, title",
        "Baby.json",
        1,
    ),
    "review cut off": foreign(
        "amazon", {"Baby.json": REVIEW + REVIEW[:30]}, "cannot be read", "Baby.json", 2
    ),
    "review without rating": foreign(
        "amazon",
        {"Baby.json": REVIEW + '{"reviewerID": "b", "asin": "1"}\n'},
        "rating is None",
        "Baby.json",
        2,
    ),
    "two categories": foreign(
        "amazon", {"a.json": REVIEW, "b.json": REVIEW}, "2 files of reviews", None
    ),
    "no reviews": foreign("amazon", {"a.json": "\n"}, "no reviews", "a.json"),
}


def read_case(case: Broken, root: Path) -> None:
    if case.format == "auto":
        build_dataset(read(root), FilterConfig(), SplitConfig())
    else:
        import_data(BUILT_IN[case.format](), root, root.parent / "out")


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_is_refused_in_words(tmp_path: Path, name: str) -> None:
    case = BROKEN[name]
    root = write(tmp_path / "data", case.files)
    with pytest.raises(UserFacingError) as caught:
        read_case(case, root)
    error = caught.value
    assert case.found in str(error)
    assert error.path == (root / case.path if case.path else root)
    assert error.row == case.row
    assert error.expected
    assert error.fix
    assert [path.name for path in tmp_path.iterdir()] == ["data"]  # nothing half-written


PLAIN = {("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")}


@dataclass(frozen=True)
class Repaired:
    """Files that look broken and are read all the same.

    Attributes:
        files: Contents by name.
        pairs: The interactions in the end.
        said: What the summary has to say.
    """

    files: dict[str, str | bytes]
    pairs: set[tuple[str, str]] = field(default_factory=lambda: PLAIN)
    said: str = "interactions read"


def kept(content: str | bytes, pairs: set[tuple[str, str]], said: str = "read") -> Repaired:
    return Repaired({"interactions.csv": content}, pairs, said)


REPAIRED: dict[str, Repaired] = {
    "byte-order mark": kept(BOM + GOOD.encode(), PLAIN),
    "CRLF": kept(GOOD.replace("\n", "\r\n"), PLAIN),
    "no last line end": kept(GOOD.removesuffix("\n"), PLAIN),
    "blank lines between": kept(GOOD.replace("\n", "\n\n"), PLAIN),
    "everything quoted": kept('"user_id","item_id"\n"a","1"\n', {("a", "1")}),
    "gzip": Repaired({"interactions.csv.gz": GOOD}),
    "row twice": kept(GOOD + "a,1\n", PLAIN, "1 duplicates"),
    "leading zeros": kept(GOOD + "007,1\n7,1\n", PLAIN | {("007", "1"), ("7", "1")}),
    "ids with spaces and commas": kept(GOOD + '"b, c"," 1 "\n', PLAIN | {("b, c", " 1 ")}),
    "negative and huge ids": kept(f"{GOOD}-5,{2**70}\n", PLAIN | {("-5", str(2**70))}),
    "ids that look like nothing": kept(
        GOOD + "nan,null\nNA,None\n", PLAIN | {("nan", "null"), ("NA", "None")}
    ),
    "ids of other scripts": kept(GOOD + "Zoë,東京\n", PLAIN | {("Zoë", "東京")}),
    "one user": kept(
        "user_id,item_id\na,1\na,2\na,3\n", {("a", "1"), ("a", "2"), ("a", "3")}, "1 users"
    ),
    "one item": kept("user_id,item_id\na,1\nb,1\n", {("a", "1"), ("b", "1")}, "1 items"),
    "one interaction": kept("user_id,item_id\na,1\n", {("a", "1")}, "1 train, 0 valid, 0 test"),
    "a user with everything": kept(GOOD, PLAIN, "2 items"),
    "numbers of both kinds in JSON": Repaired(
        {"interactions.jsonl": '{"user_id": 7, "item_id": "1"}\n{"user_id": "x", "item_id": 2}\n'},
        {("7", "1"), ("x", "2")},
    ),
    "user without items": Repaired(
        {"train.txt": "0 1\n5\n", "test.txt": "0 2\n"},
        {("0", "1"), ("0", "2")},
        "2 interactions read",
    ),
    "self triple": Repaired(
        {"interactions.csv": GOOD, "kg.csv": "head_id,relation_id,tail_id\nx,r,x\n1,r,x\n"},
        said="1 self triples dropped",
    ),
    "cycle": Repaired(
        {"interactions.csv": GOOD, "kg.csv": "head_id,relation_id,tail_id\n1,r,2\n2,r,3\n3,r,1\n"},
        said="3 triples",
    ),
    "fact twice": Repaired(
        {"interactions.csv": GOOD, "kg.csv": "head_id,relation_id,tail_id\n1,r,2\n1,r,2\n"},
        said="1 duplicate triples dropped",
    ),
    "link of an unknown item": Repaired(
        {
            "interactions.csv": GOOD,
            "kg.csv": "head_id,relation_id,tail_id\nx,r,y\n",
            "links.csv": "item_id,entity_id\n99,x\n1,x\n",
        },
        said="1 links of items not in the catalogue",
    ),
    "two items of one entity": Repaired(
        {
            "interactions.csv": GOOD,
            "kg.csv": "head_id,relation_id,tail_id\nx,r,y\n",
            "links.csv": "item_id,entity_id\n2,x\n1,x\n",
        },
        said="1 links to an entity that another item owns",
    ),
    "item without a row": Repaired(
        {"interactions.csv": GOOD, "items.csv": "item_id,t\n1,a\n"}, said="1 items without metadata"
    ),
}


def all_pairs(data: RecommendationData) -> set[tuple[str, str]]:
    parts = (data.train, data.valid, data.test)
    users = [user for part in parts for user in data.users.decode(part.users)]
    items = [item for part in parts for item in data.items.decode(part.items)]
    return set(zip(users, items, strict=True))


@pytest.mark.parametrize("name", REPAIRED)
def test_odd_input_is_read_and_reported(tmp_path: Path, name: str) -> None:
    case = REPAIRED[name]
    data = build_dataset(read(write(tmp_path / "data", case.files)), FilterConfig(), SplitConfig())
    assert all_pairs(data) == case.pairs
    assert case.said in str(data.summary)


def test_plain_file_named_gzip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv.gz").write_text(GOOD)
    with pytest.raises(UserFacingError, match="is not compressed") as caught:
        read(tmp_path)
    assert "rename it to interactions.csv" in caught.value.fix


@pytest.mark.parametrize("cut", [12, -6])
def test_damaged_gzip_is_refused(tmp_path: Path, cut: int) -> None:
    whole = gzip.compress(GOOD.encode() * 100)
    (tmp_path / "interactions.csv.gz").write_bytes(whole[:cut])
    with pytest.raises(UserFacingError, match="the compressed file is damaged"):
        read(tmp_path)


def test_gzip_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "interactions.csv.gz", "wb") as file:
        for _ in range(64):
            file.write(b" " * (1 << 20))
    with pytest.raises(UserFacingError, match="a line of more than 16 MiB"):
        read(tmp_path)


def test_folder_in_place_of_a_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").mkdir()
    with pytest.raises(UserFacingError, match="this is a folder"):
        read(tmp_path, "layout")


def test_import_touches_nothing_that_is_there(tmp_path: Path) -> None:
    root = write(tmp_path / "data", {"train.txt": TRAIN, "test.txt": TEST})
    write(tmp_path / "out", {"mine.txt": "mine"})
    with pytest.raises(UserFacingError, match="something is there already"):
        import_data(BUILT_IN["kgat"](), root, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("change", ["missing", "file"])
@pytest.mark.parametrize("format", ["recbole", "mmrec", "kgat", "movielens"])
def test_source_that_is_no_folder_is_refused(tmp_path: Path, format: str, change: str) -> None:
    source = tmp_path / "source"
    if change == "file":
        source.write_text("x")
    with pytest.raises(
        UserFacingError, match="does not exist" if change == "missing" else "a file"
    ):
        import_data(BUILT_IN[format](), source, tmp_path / "out")
