"""What files of the named formats look like elsewhere: read rightly, or what it is is said."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from slifmr_pl.cli import main
from slifmr_pl.data.formats.layout import LayoutReader
from slifmr_pl.datamodule import data_module
from slifmr_pl.errors import UserFacingError
from tests.data.formats.folders import imported, write

PLAIN = "user_id,item_id,rating\nu1,a,5\nu2,b,4\n"
ROWS = [
    {"user_id": "u1", "item_id": "a", "rating": 5.0},
    {"user_id": "u2", "item_id": "b", "rating": 4.0},
]
INTER = "user_id:token\titem_id:token\t{}\n1\t10\t0\n1\t11\t1\n2\t10\t1\n"


def zipped(**files: str) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return sink.getvalue()


PACKED = {
    "r.csv.bz2": bz2.compress(PLAIN.encode()),
    "r.csv.xz": lzma.compress(PLAIN.encode()),
    "r.csv.zst": pa.compress(PLAIN.encode(), "zstd", asbytes=True),
    "r.csv.zip": zipped(**{"r.csv": PLAIN, "__MACOSX/._r.csv": "x"}),
    "r.CSV": PLAIN.encode(),
    "r.Csv.GZ": gzip.compress(PLAIN.encode()),
    "r.json": json.dumps(ROWS).encode(),
    "r2.json": json.dumps(ROWS, indent=1).encode(),
    "r3.json": "".join(f"{json.dumps(row)}\n" for row in ROWS).encode(),
    "r.json.zst": pa.compress(json.dumps(ROWS).encode(), "zstd", asbytes=True),
}


@pytest.mark.parametrize("name", PACKED)
def test_packed_files_and_arrays_of_objects_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(PACKED[name])
    out = tmp_path / "out"
    assert main(["import", "table", str(tmp_path / name), str(out)]) == 0
    assert LayoutReader().read(out).interactions.to_pylist() == ROWS


@pytest.mark.parametrize("name", ["r.csv.bz2", "r.csv.xz", "r.csv.zst", "r.csv.zip", "r.json.zst"])
def test_data_folders_take_packed_files(tmp_path: Path, name: str) -> None:
    packed = tmp_path / f"interactions{name.removeprefix('r')}"
    packed.write_bytes(PACKED[name])
    assert LayoutReader().read(tmp_path).interactions.to_pylist() == ROWS


@pytest.mark.parametrize("name", ["r.csv.bz2", "r.csv.xz", "r.csv.zst", "r.csv.zip"])
def test_damaged_or_misnamed_packed_files_are_refused(tmp_path: Path, name: str) -> None:
    whole = PACKED[name]
    for content, said in (
        (whole[: len(whole) // 2], "is damaged"),
        (PLAIN.encode(), "is not compressed"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserFacingError, match=said):
            imported(tmp_path, "table", {name: content}, name)


def test_archive_of_several_tables_is_refused(tmp_path: Path) -> None:
    content = zipped(**{"a.csv": PLAIN, "b.csv": PLAIN})
    with pytest.raises(UserFacingError, match=r"holds 2 files \(a.csv, b.csv\)"):
        imported(tmp_path, "table", {"r.csv.zip": content}, "r.csv.zip")


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("r.xlsx", "export the sheet as CSV"),
        ("r.pt", "nothing is unpickled"),
        ("r.txt", "--sep"),
        ("r", "--sep"),
    ],
)
def test_other_suffixes_are_told_what_to_do(tmp_path: Path, name: str, fix: str) -> None:
    with pytest.raises(UserFacingError, match="suffix") as caught:
        imported(tmp_path, "table", {name: PLAIN}, name)
    assert fix in caught.value.fix
    assert ".csv" in caught.value.expected
    assert ".gz" in caught.value.expected


def test_separator_of_other_suffixes_is_an_option(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"r.txt": PLAIN.replace(",", "|") + "u3|c|x\n"}
    with pytest.raises(UserFacingError, match="rating is 'x'") as caught:
        imported(tmp_path, "table", files, "r.txt", sep="|")
    assert caught.value.row == 4
    write(tmp_path / "source", {"r.txt": PLAIN.replace(",", "\t")})
    out = tmp_path / "out"
    assert main(["import", "table", str(tmp_path / "source/r.txt"), str(out), "--sep", "tab"]) == 0
    assert LayoutReader().read(out).interactions.to_pylist() == ROWS


@pytest.mark.parametrize(
    ("content", "found", "fix"),
    [
        ("sep=,\n" + PLAIN, "the first line is 'sep=,'", "remove the line"),
        ("sep=;\n" + PLAIN.replace(",", ";"), "the first line is 'sep=;'", "with commas as .csv"),
        (
            "user_id;item_id;rating\nu1;a;4,5\nu2;b;4\n",
            "the header is one column 'user_id;item_id;rating'",
            "with points in numbers",
        ),
        (PLAIN.replace(",", ";"), "column 'user_id' is missing", "--sep ';'"),
        (PLAIN.replace(",", "\t"), "column 'user_id' is missing", "separated by '\\t'"),
    ],
)
def test_separators_of_spreadsheets_are_named(
    tmp_path: Path, content: str, found: str, fix: str
) -> None:
    with pytest.raises(UserFacingError) as caught:
        imported(tmp_path, "table", {"r.csv": content}, "r.csv")
    assert found in caught.value.found
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("header", "fix"),
    [
        ("customer,asin,stars", "--user-column customer"),
        ("User_ID,Item_ID,Rating", "--user-column User_ID"),
        ("user_id, item_id, rating", "--item-column ' item_id'"),
        ("what,which,why", "--user-column NAME"),
        ("1,10,5", "--no-header --columns"),
    ],
)
def test_missing_column_names_the_option_and_the_nearest_names(
    tmp_path: Path, header: str, fix: str
) -> None:
    with pytest.raises(UserFacingError, match="is missing; found") as caught:
        imported(tmp_path, "table", {"r.csv": f"{header}\nu1,a,5\n"}, "r.csv")
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("option", "file", "header", "fix"),
    [
        ("kg", "kg.csv", "subject,predicate,object", "--head-column subject"),
        ("links", "l.csv", "item_id,uri", "--entity-column uri"),
        ("items", "i.csv", "asin,title", "--item-column asin"),
    ],
)
def test_columns_of_the_other_tables_have_options_too(
    tmp_path: Path, option: str, file: str, header: str, fix: str
) -> None:
    files: dict[str, str | bytes] = {"r.csv": PLAIN, file: f"{header}\n{header}\n"}
    path = tmp_path / "source" / file
    with pytest.raises(UserFacingError, match="is missing") as caught:
        imported(tmp_path, "table", files, "r.csv", **{option: path})
    assert fix in caught.value.fix


def test_ids_written_as_fractions_are_named_and_offered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "user_id,item_id\nx,12.0\ny,13.0\n"
    source = write(tmp_path / "source", {"r.csv": rows}) / "r.csv"
    assert main(["import", "table", str(source), str(tmp_path / "a")]) == 0
    text = capsys.readouterr().out
    assert "! every item_id of the interactions is a whole number written as a fraction" in text
    assert "user_id" not in text
    assert main(["import", "table", str(source), str(tmp_path / "b"), "--whole-ids"]) == 0
    assert LayoutReader().read(tmp_path / "b").interactions["item_id"].to_pylist() == ["12", "13"]
    assert "as a fraction" not in capsys.readouterr().out


def test_whole_numbers_of_doubles_are_ids_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"user_id": [1.0, 2.0], "item_id": ["a", "b"]}), path)
    assert main(["import", "table", str(path), str(tmp_path / "x"), "--whole-ids"]) == 0
    assert LayoutReader().read(tmp_path / "x").interactions["user_id"].to_pylist() == ["1", "2"]


def test_unused_columns_name_the_options_that_would_read_them(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"r.csv": "user_id,item_id,stars\na,1,5\n"}
    _, report = imported(tmp_path, "table", files, "r.csv")
    (note,) = report.notes
    assert note.startswith("the column stars of r.csv is not used; --rating-column, --time")
    assert "the column stars of the interactions is not read" in report.cautions[0]


def test_label_of_recbole_is_a_rating(tmp_path: Path) -> None:
    raw, _ = imported(tmp_path, "recbole", {"ds.inter": INTER.format("label:float")})
    assert raw.interactions["rating"].to_pylist() == [0.0, 1.0, 1.0]


def test_other_fields_of_recbole_are_mapped_or_named(tmp_path: Path) -> None:
    header = "session_id:token\titem_id_list:token_seq\tvenue_id:token\tstars:float\n"
    files: dict[str, str | bytes] = {
        "ds.inter": f"{header}1\t10 11\t12\t4\n",
        "ds.user": "user_id:token\tage:float\n1\t30\n",
    }
    with pytest.raises(UserFacingError, match="'user_id' is missing") as caught:
        imported(tmp_path, "recbole", files)
    assert "--user-column session_id" in caught.value.fix
    options = {"user_column": "session_id", "item_column": "venue_id", "rating_column": "stars"}
    raw, report = imported(tmp_path, "recbole", files, **options)
    assert raw.interactions.to_pylist() == [{"user_id": "1", "item_id": "12", "rating": 4.0}]
    assert report.notes == [
        "not read: ds.user",
        "the column item_id_list of the interactions is not used",
    ]


@pytest.mark.parametrize(("mark", "name"), [(" ", "spaces"), (",", "commas"), (";", "semicolons")])
def test_other_separators_of_recbole_are_named_and_taken(
    tmp_path: Path, mark: str, name: str
) -> None:
    files: dict[str, str | bytes] = {"ds.inter": INTER.format("label:float").replace("\t", mark)}
    with pytest.raises(UserFacingError, match=f"seem to be separated by {name}") as caught:
        imported(tmp_path, "recbole", files)
    assert "separate the fields by tabs" in caught.value.fix
    raw, _ = imported(tmp_path, "recbole", files, sep=mark)
    assert raw.interactions["item_id"].to_pylist() == ["10", "11", "10"]


def test_header_of_recbole_without_types_is_told_how_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserFacingError, match="has the type ''") as caught:
        imported(tmp_path, "recbole", {"ds.inter": "user_id\titem_id\n1\t2\n"})
    assert "user_id:token" in caught.value.fix


MMREC = "userID\titemID\tx_label\n" + "".join(
    f"{n % 3}\t{n % 4}\t{(0, 0, 1, 2)[n // 3]}\n" for n in range(12)
)


def npy(rows: int) -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32))
    return sink.getvalue()


def test_command_after_an_import_trains_on_the_features(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files: dict[str, str | bytes] = {
        "a.inter": MMREC,
        "image_feat.npy": npy(4),
        "text_feat.npy": npy(4),
        "user_graph_dict.npy": b"x",
    }
    source, out = write(tmp_path / "source", files), tmp_path / "out"
    assert main(["import", "mmrec", str(source), str(out)]) == 0
    text = capsys.readouterr().out
    assert (
        f"slifmr fit --data.root {out} --data.split.strategy given --data.modalities "
        "'{image: {store: features/image}, text: {store: features/text}}'"
    ) in text
    assert "note: not read: user_graph_dict.npy" in text
    modalities = yaml.safe_load(text.partition("--data.modalities '")[2].partition("'")[0])
    section = {"root": str(out), "split": {"strategy": "given"}, "modalities": modalities}
    module = data_module({"data": section}, cache_dir=str(tmp_path / "cache"))
    assert set(module.model_inputs.features) == {"image", "text"}


def test_stores_that_lie_unused_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files: dict[str, str | bytes] = {"a.inter": MMREC, "image_feat.npy": npy(4)}
    imported(tmp_path, "mmrec", files)
    module = data_module(
        {"data": {"root": str(tmp_path / "out")}}, cache_dir=str(tmp_path / "cache")
    )
    module.setup("")
    assert "features/image are not used; data.modalities: {image: {store:" in caplog.text


def test_features_of_few_or_none_of_the_items_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    imported(tmp_path, "mmrec", {"a.inter": MMREC, "image_feat.npy": npy(4)})
    rows = "user_id,item_id\n" + "".join(f"u{n % 3},{n % 10}\n" for n in range(30))
    for name, text in (("few", rows), ("none", rows.replace(",", ",i"))):
        root = write(tmp_path / name, {"interactions.csv": text.replace("iitem", "item")})
        store = str(tmp_path / "out" / "features" / "image")
        section = {"root": str(root), "modalities": {"image": {"store": store}}}
        module = data_module({"data": section}, cache_dir=str(tmp_path / "cache"))
        if name == "few":
            module.setup("")
            assert "only 4 of the 10 items have features; '4' has none, '0' stands" in caplog.text
        else:
            with pytest.raises(UserFacingError, match="none of the 10 items") as caught:
                module.setup("")
            assert "'0' stands there, 'i0' in the interactions" in str(caught.value)


@pytest.mark.parametrize(
    ("format", "files", "other"),
    [
        ("layout", {"interactions.csv": PLAIN}, "item.csv"),
        ("layout", {"interactions.csv": PLAIN}, "items.CSV"),
        ("layout", {"interactions.csv": PLAIN}, "kg.rdf"),
        ("layout", {"interactions.csv": PLAIN}, "links.json.bak"),
        ("layout", {"interactions.csv": PLAIN}, "ratings.parquet"),
        ("kgat", {"train.txt": "0 0 1\n1 0\n", "test.txt": "0 2\n"}, "user_dict.txt"),
        ("movielens", {"u.data": "1\t2\t3\t4\n"}, "u.user"),
        ("movielens", {"ratings.csv": "userId,movieId,rating,timestamp\n1,2,3,4\n"}, "tags.csv"),
    ],
)
def test_files_that_a_reader_does_not_take_are_named(
    tmp_path: Path, format: str, files: dict[str, str | bytes], other: str
) -> None:
    _, report = imported(tmp_path, format, {**files, other: "x"})
    assert f"not read: {other}" in report.notes


def test_what_is_no_table_of_a_data_folder_is_no_remark(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"interactions.csv": PLAIN, "items.csv": "item_id\na\n"}
    others = ("import.json", "demo.json", "mine.yaml", "a.png", "image.npy", ".items.csv")
    _, report = imported(tmp_path, "layout", {**files, **dict.fromkeys(others, "x")})
    assert report.notes == []
