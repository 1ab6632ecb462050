"""Every reader with one column or key more in each of its files: kept, named, or refused."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from slifmr_pl.data.formats import BUILT_IN, frames
from slifmr_pl.data.formats.importing import Imported, import_data
from slifmr_pl.data.formats.layout import LayoutReader
from slifmr_pl.data.formats.table import TableReader
from slifmr_pl.data.reader import Reader
from slifmr_pl.errors import UserFacingError
from tests.data.formats.folders import write

NEW = "surplus"
VALUE = "x7"

INTERACTIONS = "user_id,item_id,rating\na,1,4\na,2,5\nb,1,3\n"
ITEMS = "item_id,title\n1,One\n2,Two\n"
KG = "head_id,relation_id,tail_id\n1,by,p\n2,by,p\n"
LINKS = "item_id,entity_id\n1,e1\n2,e2\n"
LAYOUT = {"interactions.csv": INTERACTIONS, "items.csv": ITEMS, "kg.csv": KG, "links.csv": LINKS}
HETREC = {
    "user_artists.dat": "userID\tartistID\tweight\n2\t51\t13\n",
    "artists.dat": "id\tname\turl\tpictureURL\n51\ta\tu\tp\n",
    "tags.dat": "tagID\ttagValue\n1\tpop\n",
    "user_taggedartists.dat": "userID\tartistID\ttagID\tday\tmonth\tyear\n2\t51\t1\t1\t4\t2009\n",
}
REVIEW_2014 = '{"reviewerID": "a", "asin": "1", "overall": 5, "unixReviewTime": 1}\n'
REVIEW_2023 = '{"user_id": "a", "parent_asin": "1", "rating": 5, "timestamp": 1000}\n'
MAPPED = {
    "a.inter": "userID\titemID\tx_label\n0\t0\t0\n0\t1\t1\n",
    "u_id_mapping.csv": "user_id\tuserID\nx\t0\n",
    "i_id_mapping.csv": "asin\titemID\nx\t0\ny\t1\n",
}
ATOMIC = {
    "a.inter": "user_id:token\titem_id:token\trating:float\na\t1\t4\na\t2\t5\n",
    "a.item": "item_id:token\ttitle:token_seq\n1\tOne\n",
    "a.kg": "head_id:token\trelation_id:token\ttail_id:token\ne1\tr\te2\n",
    "a.link": "item_id:token\tentity_id:token\n1\te1\n",
    "a.user": "user_id:token\na\n",
}
KGAT = {
    "train.txt": "0 0 1\n1 0\n",
    "test.txt": "0 2\n",
    "kg_final.txt": "0 0 3\n",
    "user_list.txt": "org_id remap_id\nu 0\nv 1\n",
    "item_list.txt": "org_id remap_id\na 0\nb 1\nc 2\n",
    "entity_list.txt": "org_id remap_id\na 0\nb 1\nc 2\nd 3\n",
    "relation_list.txt": "org_id remap_id\nr 0\n",
}


def separated(sep: str, header: str = NEW) -> Callable[[str], str]:
    def widened(text: str) -> str:
        first, *rows = csv.reader(io.StringIO(text), delimiter=sep)
        return "".join(
            f"{sep.join([*row, header if row is first else VALUE])}\n" for row in [first, *rows]
        )

    return widened


def without_header(sep: str) -> Callable[[str], str]:
    return lambda text: "".join(f"{line}{sep}{VALUE}\n" for line in text.splitlines())


def keyed(text: str) -> str:
    entries = [json.loads(line) for line in text.splitlines()]
    return "".join(f"{json.dumps({**entry, NEW: VALUE})}\n" for entry in entries)


SETS: dict[str, tuple[str, dict[str, str], dict[str, Callable[[str], str]]]] = {
    # name: reader, files, and how each file gets one column more
    "layout": ("layout", LAYOUT, dict.fromkeys(LAYOUT, separated(","))),
    "table": ("table", LAYOUT, dict.fromkeys(LAYOUT, separated(","))),
    "recbole": ("recbole", ATOMIC, dict.fromkeys(ATOMIC, separated("\t", f"{NEW}:token"))),
    "mmrec": ("mmrec", MAPPED, dict.fromkeys(MAPPED, separated("\t"))),
    "kgat": (
        "kgat",
        KGAT,
        {
            "kg_final.txt": without_header(" "),
            **{name: separated(" ") for name in KGAT if name.endswith("_list.txt")},
        },
    ),
    "movielens 20M": (
        "movielens",
        {
            "ratings.csv": "userId,movieId,rating,timestamp\n1,2,3,4\n",
            "movies.csv": "movieId,title,genres\n2,T,A|B\n",
        },
        dict.fromkeys(("ratings.csv", "movies.csv"), separated(",")),
    ),
    "movielens 1M": (
        "movielens",
        {"ratings.dat": "1::2::3::4\n", "movies.dat": "2::T::A|B\n"},
        dict.fromkeys(("ratings.dat", "movies.dat"), without_header("::")),
    ),
    "movielens 100K": (
        "movielens",
        {"u.data": "1\t2\t3\t4\n", "u.item": f"2|T|||{'|0' * 19}\n"},
        {"u.data": without_header("\t"), "u.item": without_header("|")},
    ),
    "hetrec": ("hetrec", HETREC, dict.fromkeys(HETREC, separated("\t"))),
    "amazon 2014": (
        "amazon",
        {"Baby.json": REVIEW_2014, "meta_Baby.json": '{"asin": "1", "title": "t"}\n'},
        dict.fromkeys(("Baby.json", "meta_Baby.json"), keyed),
    ),
    "amazon 2023": (
        "amazon",
        {"Baby.jsonl": REVIEW_2023, "meta_Baby.jsonl": '{"parent_asin": "1", "title": "t"}\n'},
        dict.fromkeys(("Baby.jsonl", "meta_Baby.jsonl"), keyed),
    ),
}
CASES = [(name, file) for name, (_, _, more) in SETS.items() for file in more]


def reader_of(format: str, root: Path) -> tuple[Reader, Path]:
    if format != "table":
        return BUILT_IN[format](), root
    beside = {kind: root / f"{kind}.csv" for kind in ("items", "kg", "links")}
    return TableReader(**beside), root / "interactions.csv"  # type: ignore[arg-type]


def imported(format: str, files: dict[str, str], folder: Path) -> Imported:
    return import_data(*reader_of(format, write(folder / "data", {**files})), folder / "out")


def kept(folder: Path) -> bool:
    """Whether the values of the column have arrived in a table."""
    raw = LayoutReader().read(folder / "out")
    tables = [raw.interactions, raw.items, raw.kg, raw.links]
    return any(
        VALUE in row.values() for table in tables if table is not None for row in table.to_pylist()
    )


@pytest.mark.parametrize("name", SETS)
def test_files_without_more_columns_are_read(tmp_path: Path, name: str) -> None:
    format, files, _ = SETS[name]
    notes = imported(format, files, tmp_path).notes
    assert NEW not in str(notes)
    assert not kept(tmp_path)


@pytest.mark.parametrize(("name", "file"), CASES)
def test_one_column_more_is_kept_named_or_refused(tmp_path: Path, name: str, file: str) -> None:
    format, files, more = SETS[name]
    changed = {**files, file: more[file](files[file])}
    notes: list[str] = []
    refused: UserFacingError | None = None
    try:
        notes = imported(format, changed, tmp_path).notes
    except UserFacingError as error:
        refused = error
    if refused is not None:
        assert refused.path == tmp_path / "data" / file
        assert VALUE in refused.found or NEW in refused.found
        return
    if kept(tmp_path):
        return
    named = [note for note in notes if NEW in note or f"not read: {file}" in note]
    assert len(named) == 1
    assert "not used" in named[0] or "not read" in named[0]


@pytest.mark.parametrize("kind", ["interactions", "items", "kg", "links"])
def test_one_column_more_in_a_data_frame_is_kept_or_named(kind: str) -> None:
    tables = {}
    for one in ("interactions", "items", "kg", "links"):
        text = LAYOUT[f"{one}.csv"]
        header, *rows = csv.reader(io.StringIO(separated(",")(text) if one == kind else text))
        columns = zip(*rows, strict=True)
        tables[one] = dict(zip(header, map(list, columns), strict=True))
    raw = frames.raw_data(**tables)
    assert raw.items is not None
    named = [note for note in raw.notes if NEW in note]
    assert ("surplus" in raw.items.column_names) is (kind == "items")
    assert len(named) == (0 if kind == "items" else 1)


def test_every_built_in_reader_and_every_file_with_columns_is_tried() -> None:
    assert {format for format, _, _ in SETS.values()} == set(BUILT_IN)
    left_out = {(name, file) for name, (_, files, _) in SETS.items() for file in files} - set(CASES)
    # A line of these is a user and any number of items, which has no columns.
    assert left_out == {("kgat", "train.txt"), ("kgat", "test.txt")}
