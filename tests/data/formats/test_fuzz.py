"""Whatever the bytes, readers give tables or say what is wrong in words."""

import gzip
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_extraction.stores.precomputed import load_array, load_tensor
from slifmr_pl.data.canonical import KINDS
from slifmr_pl.data.dataset import FilterConfig, SplitConfig, build_dataset
from slifmr_pl.data.formats import BUILT_IN
from slifmr_pl.data.formats.data_folder import read
from slifmr_pl.data.formats.importing import import_data
from slifmr_pl.errors import UserFacingError
from tests.data.formats.folders import write

FILES: dict[str, dict[str, bytes]] = {
    "layout": {
        "interactions.csv": b"user_id,item_id,rating,timestamp,split\n"
        b'a,1,4,1,train\n"b",2,5,2,test\n',
        "items.jsonl": b'{"item_id": "1", "title": "x", "n": [1]}\n{"item_id": 2}\n',
        "kg.tsv": b"head_id\trelation_id\ttail_id\n1\tr\te\n",
        "links.csv": b"item_id,entity_id\n1,e\n",
    },
    "layout with triples": {
        "interactions.csv": b"user_id,item_id\na,http://x/1\na,http://x/2\n",
        "kg.nt": b'<http://x/1> <http://x/by> _:b .\n<http://x/2> <http://x/t> "T"@en .\n',
    },
    "layout with Turtle": {
        "interactions.csv": b"user_id,item_id\na,http://x/1\na,http://x/2\n",
        "kg.ttl": b"@prefix x: <http://x/> .\nx:1 x:by [ x:in (1 2.5) ] ; x:t 'T'@en .\n",
    },
    "recbole": {
        "a.train.inter": b"user_id:token\titem_id:token\trating:float\na\t1\t4\n",
        "a.test.inter": b"user_id:token\titem_id:token\trating:float\na\t2\t4\n",
        "a.item": b"item_id:token\tt:token_seq\n1\tx\n",
    },
    "kgat": {
        "train.txt": b"0 1 2\n1 0\n",
        "test.txt": b"0 0\n",
        "kg_final.txt": b"0 0 3\n",
        "item_list.txt": b"org_id remap_id\na 0\nb 1\nc 2\n",
    },
    "mmrec": {
        "a.inter": b"userID\titemID\tx_label\n0\t0\t0\n0\t1\t2\n",
        "i_id_mapping.csv": b"asin\titemID\nx\t0\ny\t1\n",
    },
    "movielens": {
        "ratings.dat": b"1::2::3::4\n5::6::7::8\n",
        "movies.dat": b"2::T\xe9::A|B\n",
    },
    "hetrec": {
        "user_artists.dat": b"userID\tartistID\tweight\n2\t51\t13883\n",
        "artists.dat": b"id\tname\turl\tpictureURL\n51\tDuran Duran\tu\tp\n",
        "tags.dat": b"tagID\ttagValue\n1\tm\xe9tal\n",
        "user_taggedartists.dat": b"userID\tartistID\ttagID\tday\tmonth\tyear\n"
        b"2\t51\t1\t1\t4\t2009\n",
    },
    "amazon": {
        "Baby.json": b'{"reviewerID": "a", "asin": "1", "overall": 5.0, "unixReviewTime": 1}\n',
        "meta_Baby.json": b"{'asin': '1', 'title': 'T', 'categories': [['a', 'b']]}\n",
    },
}
PIECES = [
    *(b"\n", b"\r", b"\t", b",", b'"', b"::", b"|", b" ", b"{", b"[", b"}", b"\0", b"\xff"),
    *(b"nan", b"-1", b"99999999999999999999", b"1e999", b"null", b'"\\ud800"'),
    *(b"\xef\xbb\xbf", b"\x1f\x8b"),
]
PIECE = st.binary(max_size=6) | st.sampled_from(PIECES)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=4)
    | st.lists(st.integers(0, 9), max_size=2)
    | st.datetimes()
)
FUZZ = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def broken(draw: st.DrawFn, files: dict[str, bytes]) -> dict[str, bytes]:
    """Files of which one has pieces inserted, cut out or replaced; or is cut or is compressed."""
    files = dict(files)
    name = draw(st.sampled_from(sorted(files)))
    content = files[name]
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        stop = min(start + draw(st.integers(0, 8)), len(content))
        content = content[:start] + draw(PIECE) + content[stop:]
    if draw(st.integers(0, 9)) == 0:
        content = gzip.compress(content)[: draw(st.integers(0, 60))]
    files[name] = content
    return files


@pytest.mark.parametrize("format", FILES)
@FUZZ
@given(data=st.data())
def test_broken_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, format: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    root = write(folder / "data", {**data.draw(broken(FILES[format]))})
    with suppress(UserFacingError):  # anything else fails
        if format.startswith("layout"):
            build_dataset(read(root), FilterConfig(), SplitConfig())
        else:
            import_data(BUILT_IN[format](), root, folder / "out")


@FUZZ
@given(
    content=st.binary(max_size=200),
    name=st.sampled_from(["csv", "tsv.gz", "jsonl", "parquet", "arrow"]),
)
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    (root / f"interactions.{name}").write_bytes(content)
    for load in (load_array, load_tensor):
        with pytest.raises(UserFacingError):
            load(root / f"interactions.{name}")
    with suppress(UserFacingError):  # anything else fails
        read(root)


@FUZZ
@given(data=st.data())
def test_tables_of_any_type_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    kind = data.draw(st.sampled_from(KINDS))
    names = [
        "user_id",
        "item_id",
        "rating",
        "timestamp",
        "split",
        "entity_id",
        "head_id",
        "tail_id",
    ]
    names += ["relation_id", "title"]
    length = data.draw(st.integers(0, 3))
    columns = {}
    for name in data.draw(st.lists(st.sampled_from(names), unique=True, min_size=1)):
        try:
            drawn = data.draw(st.lists(VALUES, min_size=length, max_size=length))
            columns[name] = pa.array(drawn)
        except (pa.ArrowException, TypeError, OverflowError):
            columns[name] = pa.array(["x"] * length)
    if kind != "interactions":
        (root / "interactions.csv").write_text("user_id,item_id\na,1\na,2\n")
    pq.write_table(pa.table(columns), root / f"{kind}.parquet")
    with suppress(UserFacingError):  # anything else fails
        build_dataset(read(root), FilterConfig(), SplitConfig())
