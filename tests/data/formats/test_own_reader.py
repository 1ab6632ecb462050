"""A reader of a user's own: one class, used from Python, YAML and both command lines."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from slifmr_pl.cli import main
from slifmr_pl.data.formats.data_folder import read
from slifmr_pl.data.formats.layout import LayoutReader
from slifmr_pl.data.formats.recbole import RecBoleReader
from slifmr_pl.data.formats.table import TableReader
from slifmr_pl.data.reader import Reader, Source, TablePiece
from slifmr_pl.data.table_columns import FileRows
from slifmr_pl.datamodule import SlifMrDataModule, data_module
from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.report.inspection.inspect import inspect
from tests.extending.parts.likes_reader import LikesReader
from tests.tiny_runs import full_model, trainer

CLASS = "tests.extending.parts.likes_reader.LikesReader"


class NeedsAnOption(LikesReader):
    """Cannot be made without arguments, so that `auto` does not ask it."""

    def __init__(self, sep: str) -> None:
        super().__init__(sep)


def likes(root: Path, sep: str = ";", first: str = "") -> Path:
    root.mkdir(exist_ok=True)
    rows = [f"u{u}{sep}i{i}" for u in range(12) for i in range(10) if (u * i + u + i) % 3]
    (root / "likes.txt").write_text(first + "\n".join(rows) + "\n")
    return root


@pytest.mark.parametrize(("sep", "format"), [(";", "auto"), ("|", LikesReader("|"))])
def test_own_reader_is_trained_with(tmp_path: Path, sep: str, format: Reader) -> None:
    root = likes(tmp_path / "data", sep)
    data = SlifMrDataModule(str(root), format, batch_size=16, cache_dir=str(tmp_path / "cache"))
    run = trainer(tmp_path, 1)
    run.fit(full_model(), datamodule=data)
    assert (len(data.data.users), len(data.data.items)) == (12, 10)
    assert run.callback_metrics["val/recall@5"] > 0


def test_own_reader_is_configured_in_yaml_and_comes_back_from_the_run(tmp_path: Path) -> None:
    root = likes(tmp_path / "data", "|", "who|what\n")
    config = {
        "name": "own",
        "data": {
            "root": str(root),
            "format": {"class_path": CLASS, "init_args": {"sep": "|"}},
            "batch_size": 16,
            "cache_dir": str(tmp_path / "cache"),
        },
        "model": {"network": {"embedding_dim": 8}, "ks": [5, 20]},
        "trainer": {"accelerator": "cpu", "devices": 1, "max_epochs": 1},
    }
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(config))
    arguments = ["--data.format.init_args.skip", "1", "--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", "--config", str(path), *arguments]) == 0
    run = tmp_path / "own" / "version_0"
    kept = data_module(yaml.safe_load((run / "config.yaml").read_text()))
    assert isinstance(kept.format, LikesReader)
    assert (kept.format.sep, kept.format.skip) == ("|", 1)
    settings = {"root": str(root), "format": {"class_path": CLASS, "init_args": {"sep": "|"}}}
    module = data_module({"data": settings})
    assert isinstance(module.format, LikesReader)
    assert module.format.settings == {"class_path": CLASS, "init_args": {"sep": "|", "skip": 0}}
    inspected = json.loads(json.dumps(inspect(module).findings.settings))
    assert inspected["format"]["init_args"] == {"sep": "|", "skip": 0}
    with pytest.raises(ConfigError, match="sepp"):
        data_module(
            {"data": {**settings, "format": {"class_path": CLASS, "init_args": {"sepp": "|"}}}}
        )


def test_own_reader_imports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = likes(tmp_path / "data", "|")
    out = tmp_path / "out"
    assert main(["import", CLASS, str(root / "likes.txt"), str(out), "--sep", "|"]) == 0
    assert LayoutReader().read(out).interactions["item_id"][0].as_py() == "i1"
    record = json.loads((out / "import.json").read_text())
    assert record["reader"] == {"class_path": CLASS, "init_args": {"sep": "|", "skip": 0}}
    with pytest.raises(SystemExit) as stop:
        main(["import", CLASS, "--help"])
    assert stop.value.code == 0
    assert "--sep SEP" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("format", "found"),
    [
        ("no_such", "the format is no_such, and no class of that name is imported"),
        (f"{__name__}.likes", "a subclass of"),
    ],
)
def test_what_is_no_reader_is_refused(
    tmp_path: Path, format: str, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", format, str(tmp_path), str(tmp_path / "out")]) == 2
    assert found in capsys.readouterr().err


def test_bad_value_names_file_and_row(tmp_path: Path) -> None:
    root = likes(tmp_path / "data", ";", "a;b\n;c\n")
    with pytest.raises(DataError, match="user_id is empty") as caught:
        read(root)
    assert (caught.value.path, caught.value.row) == (root / "likes.txt", 2)


def test_two_readers_of_one_folder_are_named(tmp_path: Path) -> None:
    root = likes(tmp_path / "data")
    (root / "interactions.csv").write_text("user_id,item_id\na,b\n")
    with pytest.raises(DataError, match=f"the formats layout and {CLASS}"):
        read(root)


def test_columns_that_nobody_reads_are_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,item_id,label,event\na,b,1,x\nc,b,1,x\n")
    with caplog.at_level("INFO", logger="slifmr_pl"):
        read(tmp_path)
    assert caplog.text.count("the columns label, event of the interactions are not used") == 1


def test_options_of_built_in_readers_are_those_of_the_constructor(tmp_path: Path) -> None:
    header = "user_id:token\titem_id:token\n"
    (tmp_path / "a.inter").write_text(header + "1\t2\n")
    (tmp_path / "b.inter").write_text(header + "x\ty\n")
    (tmp_path / "ratings.csv").write_text("who,item_id,stars\nann,7,3\n")
    assert read(tmp_path, RecBoleReader("b")).interactions["user_id"].to_pylist() == ["x"]
    table = TableReader(Path("ratings.csv"), user_column="who", rating_column="stars")
    rows = [{"user_id": "ann", "item_id": "7", "rating": 3.0}]
    assert read(tmp_path, table).interactions.to_pylist() == rows
    settings = {"class_path": "RecBoleReader", "init_args": {"name": "a"}}
    module = data_module({"data": {"root": str(tmp_path), "format": settings}})
    assert module.tables().interactions["user_id"].to_pylist() == ["1"]
    with pytest.raises(DataError, match="no file of interactions is named"):
        read(tmp_path, "table")


def test_item_described_twice_names_its_row_in_a_later_piece(tmp_path: Path) -> None:
    file = tmp_path / "items.txt"
    pieces = [
        TablePiece(pa.table({"item_id": ids}), FileRows(file, lines=lines))
        for ids, lines in ((["a", "b"], [1, 2]), (["c", "a"], [5, 9]))
    ]
    interactions = pa.table({"user_id": ["u"], "item_id": ["a"]})
    with pytest.raises(DataError, match="'a' occurs for the second time") as caught:
        Source({"interactions": interactions, "items": pieces}).read(tmp_path)
    assert (caught.value.path, caught.value.row) == (file, 9)
