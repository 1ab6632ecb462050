from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from feature_extraction import FeatureError, FeatureStore
from feature_extraction.cli import main
from feature_extraction.stores.precomputed import (
    load_array,
    load_columns,
    load_tensor,
    write_features,
)

IDS = ["007", "b", "c"]
VALUES = np.array([[1.5, -2], [0, 0], [3, 4]], np.float32)


def as_npy(path: Path) -> None:
    np.save(path, VALUES.astype(np.float64))


def as_safetensors(path: Path) -> None:
    save_file({"features": VALUES}, path)


def as_lists(path: Path) -> None:
    pq.write_table(pa.table({"id": IDS, "x": pa.array(VALUES.tolist())}), path)


def as_fixed_lists(path: Path) -> None:
    kind = pa.list_(pa.float32(), 2)
    pq.write_table(
        pa.table({"id": IDS, "x": pa.array(VALUES.tolist(), kind)}), path, row_group_size=2
    )


def as_columns(path: Path) -> None:
    pq.write_table(pa.table({"id": IDS, "x": VALUES[:, 0], "y": VALUES[:, 1]}), path)


@pytest.mark.parametrize(
    ("file", "write", "flags"),
    [
        ("f.npy", as_npy, ["--items", "items.csv"]),
        ("f.safetensors", as_safetensors, ["--items", "items.csv"]),
        ("f.parquet", as_lists, ["--columns", "x"]),
        ("f.parquet", as_fixed_lists, ["--columns", "x"]),
        ("f.parquet", as_columns, ["--columns", "x", "y"]),
    ],
)
def test_features_of_every_kind_become_one_store(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    write: Callable[[Path], None],
    flags: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("items.csv").write_text("id,title\n007,a\nb,b\nc,c\n")
    write(Path(file))
    flags = ["import", file, "--id-column", "id", "--output", "out", "--name", "x", *flags]
    for _ in range(2):  # the second finds the same store
        assert main(flags) == 0
    store = FeatureStore.open(Path("out/x"), verify=True)
    assert store.ids == tuple(IDS)
    np.testing.assert_array_equal(store.features, VALUES)
    assert store.present.tolist() == [True, False, True]


def test_content_key_follows_values_ids_and_type(tmp_path: Path) -> None:
    source = tmp_path / "f.npy"
    as_npy(source)
    keys = set()
    for i, (ids, values) in enumerate(
        [
            (IDS, VALUES),
            (IDS[::-1], VALUES),
            (IDS, VALUES + np.float32([[1, 0], [0, 0], [0, 0]])),
            (IDS, VALUES.astype(np.float16)),
        ]
    ):
        store = write_features(tmp_path / str(i), ids, values, source)
        keys.add(store.manifest["content_key"])
    assert len(keys) == 4


def test_other_features_in_the_same_place_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "f.npy"
    as_npy(source)
    write_features(tmp_path / "x", IDS, VALUES, source)
    with pytest.raises(FeatureError, match="other features are here"):
        write_features(tmp_path / "x", IDS, VALUES * 2, source)


def saved(array: object) -> Callable[[Path], object]:
    def open_array(folder: Path) -> object:
        np.save(folder / "f.npy", array, allow_pickle=True)  # type: ignore[arg-type]
        values = load_array(folder / "f.npy")
        return write_features(folder / "x", [str(i) for i in range(3)], values, folder / "f.npy")

    return open_array


def column(values: list[object]) -> Callable[[Path], object]:
    def open_column(folder: Path) -> object:
        pq.write_table(pa.table({"id": IDS, "x": values}), folder / "f.parquet")
        return load_columns(folder / "f.parquet", "id", ["x"])

    return open_column


def several_tensors(folder: Path) -> object:
    save_file({"a": VALUES, "b": VALUES}, folder / "f.safetensors")
    return load_tensor(folder / "f.safetensors")


def no_safetensors(folder: Path) -> object:
    (folder / "f.safetensors").write_bytes(b"\xff" * 64)
    return load_tensor(folder / "f.safetensors")


def truncated(folder: Path) -> object:
    as_npy(folder / "f.npy")
    (folder / "f.npy").write_bytes((folder / "f.npy").read_bytes()[:-8])
    return load_array(folder / "f.npy")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "rows": (saved(VALUES[:2]), "2 rows of features for 3 items"),
    "objects": (saved(np.array([[1], [None], [2]], dtype=object)), "Python objects in dtype"),
    "text": (saved(np.array([["a"], ["b"], ["c"]])), "an array of <U1"),
    "complex": (saved(VALUES.astype(complex)), "an array of complex128"),
    "one dimension": (saved(VALUES[:, 0]), r"shape \(3,\)"),
    "no dimension": (saved(VALUES[:, :0]), r"shape \(3, 0\)"),
    "NaN": (saved(np.array([[1], [np.nan], [2]])), "row 2: the features of item '1' hold nan"),
    "infinite": (saved(np.array([[1], [2], [np.inf]])), "row 3: the features of item '2' hold inf"),
    "beyond float32": (saved(np.array([[1e300], [2], [3]])), "row 1: .* hold 1e"),
    "all zero": (saved(np.zeros((3, 2))), "all rows are zero"),
    "truncated": (truncated, "cannot be read"),
    "lists of two lengths": (column([[1.0], [1.0, 2.0], [1.0]]), "lists of 1, 2 numbers"),
    "list missing": (column([[1.0], None, [1.0]]), "lists of 1, None numbers"),
    "number missing": (column([[1.0], [None], [1.0]]), "1 missing numbers"),
    "column of text": (column(["a", "b", "c"]), "the columns x hold string"),
    "several tensors": (several_tensors, "the tensors a, b"),
    "no safetensors": (no_safetensors, "cannot be read as safetensors"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_features_are_refused(tmp_path: Path, name: str) -> None:
    make, message = BAD[name]
    with pytest.raises(FeatureError, match=message):
        make(tmp_path)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("file", "flags"), [("f.npy", []), ("f.parquet", ["--items", "i.csv", "--columns", "x"])]
)
def test_options_that_do_not_fit_are_refused(
    capsys: pytest.CaptureFixture[str], file: str, flags: list[str]
) -> None:
    flags = ["import", file, "--id-column", "id", "--output", "out", "--name", "x", *flags]
    assert main(flags) == 2
    assert "options that do not fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("x.pt", "x.cpu().numpy()"),
        ("x.pkl", "np.save"),
        ("x.npz", "np.load('x.npz')['NAME']"),
        ("x.PTH", "np.save"),
    ],
)
def test_other_files_of_features_are_told_what_to_save(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, fix: str
) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    flags = ["--items", "items.csv", "--id-column", "item_id", "--name", "z", "--output", "out"]
    assert main(["import", str(tmp_path / name), *flags]) == 2
    said = capsys.readouterr().err
    assert "is not read" in said
    assert fix in said
