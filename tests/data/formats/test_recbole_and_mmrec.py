from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feature_extraction import FeatureStore
from slifmr_pl.cli import main
from slifmr_pl.data.dataset import FilterConfig, RecommendationData, SplitConfig, build_dataset
from slifmr_pl.data.formats import recbole
from slifmr_pl.data.formats.data_folder import read
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import DataError
from tests.data.formats.folders import imported, write
from tests.tiny_runs import demo_data

MMREC: dict[str, str | bytes] = {
    "baby.inter": "userID\titemID\trating\ttimestamp\tx_label\n"
    "0\t1\t5.0\t10\t0\n1\t0\t4.0\t11\t1\n1\t2\t3.0\t12\t2\n",
    "u_id_mapping.csv": "user_id\tuserID\nann\t0\nbob\t1\n",
    "i_id_mapping.csv": "asin\titemID\nB2\t2\nB0\t0\nB1\t1\nB3\t3\n",
}
FEATURES = np.array([[1, 0], [0, 1], [0, 0], [1, 1]], np.float64)


def mmrec_folder(root: Path) -> Path:
    write(root, MMREC)
    np.save(root / "image_feat.npy", FEATURES)
    np.save(root / "text_feat.npy", FEATURES.astype(np.float32))
    return root


def test_mmrec_features_and_ids_stay_together(tmp_path: Path) -> None:
    source, out = mmrec_folder(tmp_path / "source"), tmp_path / "out"
    assert main(["import", "mmrec", str(source), str(out)]) == 0
    raw = read(out)
    assert raw.interactions.to_pydict() == {
        "user_id": ["ann", "bob", "bob"],
        "item_id": ["B1", "B0", "B2"],
        "rating": [5.0, 4.0, 3.0],
        "timestamp": [10.0, 11.0, 12.0],
        "split": ["train", "valid", "test"],
    }
    assert raw.items is not None
    assert raw.items["item_id"].to_pylist() == ["B0", "B1", "B2", "B3"]
    store = FeatureStore.open(out / "features" / "image", verify=True)
    values, present = store.aligned(["B1", "B3", "B2", "none"])
    assert values.tolist() == [[0, 1], [1, 1], [0, 0], [0, 0]]
    assert present.tolist() == [True, True, False, False]


def test_mmrec_folder_is_read_directly(tmp_path: Path) -> None:
    raw = read(mmrec_folder(tmp_path / "mmrec"))
    assert raw.interactions["item_id"].to_pylist() == ["B1", "B0", "B2"]


def test_mmrec_numbers_stay_where_there_is_no_mapping(tmp_path: Path) -> None:
    raw, _ = imported(tmp_path, "mmrec", {"baby.inter": MMREC["baby.inter"]})
    assert raw.interactions["user_id"].to_pylist() == ["0", "1", "1"]
    assert raw.items is None


BENCHMARK: dict[str, str | bytes] = {
    "b.train.inter": "user_id:token\titem_id:token\n1\t2\n",
    "b.valid.inter.gz": "user_id:token\titem_id:token\n1\t3\n",
    "b.test.inter": "user_id:token\titem_id:token\n1\t4\n",
    "b.item": "item_id:token\ttitle:token_seq\n2\tT\n",
}


def test_recbole_benchmark_split_is_read(tmp_path: Path) -> None:
    raw, report = imported(tmp_path, "recbole", BENCHMARK)
    assert dict(
        zip(*raw.interactions.select(["item_id", "split"]).to_pydict().values(), strict=True)
    ) == {
        "2": "train",
        "3": "valid",
        "4": "test",
    }
    assert report.parts == {"train": 1, "valid": 1, "test": 1}
    assert raw.items is not None


@pytest.fixture(scope="module")
def prepared(catalogue: Path) -> RecommendationData:
    return demo_data(catalogue).data


@pytest.fixture(scope="module")
def config(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "mine.yaml"
    path.write_text(
        f"""
name: mine
data:
  root: {catalogue}
  filters: {{keep_cold_items: true}}
  modalities:
    image: {{kind: clip-image, encoder: encoders/clip, columns: [image]}}
  extraction: {{progress: false}}
model: {{ks: [5]}}
"""
    )
    return path


@pytest.mark.parametrize("format", ["recbole", "mmrec"])
@pytest.mark.parametrize("directly", [True, False])
def test_round_trip_loses_nothing(
    config: Path, catalogue: Path, tmp_path: Path, format: str, directly: bool
) -> None:
    assert main(["export-data", format, str(config), str(tmp_path / "demo")]) == 0
    if not directly:
        assert main(["import", format, str(tmp_path / "demo"), str(tmp_path / "back")]) == 0
    filters = FilterConfig(keep_cold_items=True)
    knowledge = format == "recbole"
    before = build_dataset(read(catalogue), filters, SplitConfig(), knowledge)
    folder = tmp_path / ("demo" if directly else "back")
    after = build_dataset(read(folder), filters, SplitConfig("given"), knowledge)
    assert len(before.test) > 50
    assert not knowledge or len(before.triples) > 50
    assert after.fingerprint == before.fingerprint


def test_exported_features_come_back(config: Path, catalogue: Path, tmp_path: Path) -> None:
    assert main(["export-data", "mmrec", str(config), str(tmp_path / "demo")]) == 0
    assert main(["import", "mmrec", str(tmp_path / "demo"), str(tmp_path / "back")]) == 0
    module = demo_data(catalogue)
    ids = module.data.items.ids.to_pylist()
    expected = module.stores["image"].aligned(ids)
    read_back = FeatureStore.open(tmp_path / "back" / "features" / "image").aligned(ids)
    for one, other in zip(expected, read_back, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not expected[1].all()


def test_id_that_recbole_cannot_hold_is_refused(
    prepared: RecommendationData, tmp_path: Path
) -> None:
    ids = prepared.users.ids.to_pylist()
    data = replace(prepared, users=Vocabulary([f"{ids[0]}\tx", *ids[1:]]))
    with pytest.raises(DataError, match=r"the id '.+\\tx'"):
        recbole.export(data, tmp_path, "x")
