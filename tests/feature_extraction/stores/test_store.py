import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_extraction import FeatureError, FeatureStore, write_store
from feature_extraction.hashing import file_sha256

IDS = ("b", "a", "7")
FEATURES = np.array([[1, 2], [0, 0], [3, 4]], dtype=np.float32)
PRESENT = np.array([True, False, True])


def written(target: Path, **changes: Any) -> FeatureStore:
    parts: dict[str, Any] = {"ids": IDS, "features": FEATURES, "present": PRESENT, "manifest": {}}
    return write_store(target, **parts | changes)


def test_store_opens_as_it_was_written(tmp_path: Path) -> None:
    written(tmp_path / "deep" / "store", manifest={"pooling": "mean"})
    store = FeatureStore.open(tmp_path / "deep" / "store", verify=True)
    assert store.ids == IDS
    np.testing.assert_array_equal(store.features, FEATURES)
    np.testing.assert_array_equal(store.present, PRESENT)
    assert store.manifest["pooling"] == "mean"
    assert (store.manifest["dim"], store.manifest["dtype"]) == (2, "float32")


def test_features_are_mapped_and_read_only(tmp_path: Path) -> None:
    store = written(tmp_path / "store")
    assert isinstance(store.features, np.memmap)
    with pytest.raises(ValueError):
        store.features[0, 0] = 9


def test_aligned_follows_other_ids_and_masks_unknown_ones(tmp_path: Path) -> None:
    store = written(tmp_path / "store", features=FEATURES.astype(np.float16))
    features, present = store.aligned(["7", "unknown", "a", "b", "7"])
    assert features.dtype == np.float32
    assert features.tolist() == [[3, 4], [0, 0], [0, 0], [1, 2], [3, 4]]
    assert present.tolist() == [True, False, False, True, True]


def test_aligned_to_no_ids_is_empty(tmp_path: Path) -> None:
    features, present = written(tmp_path / "store").aligned([])
    assert (features.shape, present.shape) == ((0, 2), (0,))


@pytest.mark.parametrize(
    "changes",
    [
        {"ids": ("b", "a", "a")},
        {"ids": ("b", "a")},
        {"present": PRESENT[:2]},
        {"present": PRESENT.astype(np.int8)},
        {"features": FEATURES.astype(np.float64)},
        {"features": FEATURES[0]},
        {"features": FEATURES + 1},
        {"features": np.where(FEATURES == 2, np.float32("nan"), FEATURES)},
    ],
    ids=[
        "repeated id",
        "too few ids",
        "short mask",
        "mask not bool",
        "float64",
        "one axis",
        "absent row not zero",
        "not finite",
    ],
)
def test_arrays_that_make_no_store_are_not_written(tmp_path: Path, changes: Any) -> None:
    with pytest.raises(FeatureError):
        written(tmp_path / "store", **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["features.npy", "present.npy", "ids.json", "manifest.json"])
def test_missing_or_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    file = written(tmp_path / "store").path / name
    content = file.read_bytes()
    for broken in (content[:-1], content[:10], b""):
        file.write_bytes(broken)
        with pytest.raises(FeatureError, match=name.split(".")[0]):
            FeatureStore.open(tmp_path / "store")
    file.unlink()
    with pytest.raises(FeatureError, match=name.split(".")[0]):
        FeatureStore.open(tmp_path / "store")


@pytest.mark.parametrize(
    ("name", "verify"), [("features.npy", True), ("present.npy", False), ("ids.json", False)]
)
def test_changed_byte_is_refused(tmp_path: Path, name: str, verify: bool) -> None:
    file = written(tmp_path / "store").path / name
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(FeatureError, match=f"{name} was changed"):
        FeatureStore.open(tmp_path / "store", verify=verify)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("features.npy", np.full((3, 2), np.inf, dtype=np.float32)),
        ("features.npy", np.ones((3, 2), dtype=np.float32)),
    ],
    ids=["not finite", "absent row not zero"],
)
def test_wrong_values_with_matching_hashes_are_refused(
    tmp_path: Path, name: str, array: np.ndarray
) -> None:
    folder = written(tmp_path / "store").path
    np.save(folder / name, array)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name]["sha256"] = file_sha256(folder / name)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FeatureError, match=r"not finite|not zero"):
        FeatureStore.open(folder, verify=True)


def test_pickled_array_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "store").path
    np.save(folder / "present.npy", np.array([True, None, True], dtype=object))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["present.npy"] = {
        "bytes": (folder / "present.npy").stat().st_size,
        "sha256": file_sha256(folder / "present.npy"),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FeatureError, match=r"present\.npy cannot be read"):
        FeatureStore.open(folder)


@pytest.mark.parametrize("manifest", ["[]", "{}", '{"format_version": 999}', "no json"])
def test_foreign_manifest_is_refused(tmp_path: Path, manifest: str) -> None:
    folder = written(tmp_path / "store").path
    (folder / "manifest.json").write_text(manifest)
    with pytest.raises(FeatureError, match=r"format version|manifest.json cannot be read"):
        FeatureStore.open(folder)


def test_path_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="no folder"):
        FeatureStore.open(tmp_path / "absent")
    with pytest.raises(FeatureError, match=r"manifest\.json"):
        FeatureStore.open(tmp_path)


def test_whole_store_in_place_is_kept(tmp_path: Path) -> None:
    first = written(tmp_path / "store")
    second = written(tmp_path / "store", features=FEATURES * 2)
    np.testing.assert_array_equal(second.features, first.features)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_damaged_store_in_place_is_set_aside_and_not_deleted(tmp_path: Path) -> None:
    written(tmp_path / "store")
    (tmp_path / "store" / "ids.json").unlink()
    (tmp_path / "store" / "notes.txt").write_text("keep me")
    store = written(tmp_path / "store")
    np.testing.assert_array_equal(store.features, FEATURES)
    aside = [path for path in tmp_path.iterdir() if ".damaged-" in path.name]
    assert [(path / "notes.txt").read_text() for path in aside] == ["keep me"]


def test_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FeatureError, match="cannot be written"):
        written(tmp_path / "file" / "store")


def write_often(target: Path, barrier: Any, results: Any) -> None:
    for round_ in range(10):
        barrier.wait()
        store = written(target / str(round_))
        results.put(store.features.tolist())


def test_processes_that_race_for_one_store_all_end_well(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    racers = [
        context.Process(target=write_often, args=(tmp_path, barrier, results)) for _ in range(2)
    ]
    for racer in racers:
        racer.start()
    read = [results.get(timeout=60) for _ in range(20)]
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0, 0]
    assert all(features == FEATURES.tolist() for features in read)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(map(str, range(10)))
