from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feature_extraction import FeatureError, FeatureStore, ItemInputs, write_store
from feature_extraction.cli import main
from feature_extraction.stores.contact_sheet import nearest
from feature_extraction.stores.verify import verify


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """40 items around 4 directions; item 5 is absent, 6 is zero, 8 and 12 equal item 4."""
    random = np.random.default_rng(0)
    features = np.eye(4, dtype=np.float32)[np.arange(40) % 4] + 0.05 * random.standard_normal(
        (40, 4)
    ).astype(np.float32)
    present = np.ones(40, dtype=np.bool_)
    present[5] = False
    features[5] = features[6] = 0
    features[8] = features[12] = features[4]
    ids = [str(row) for row in range(40)]
    return write_store(tmp_path / "store", ids=ids, features=features, present=present, manifest={})


def test_verify_tells_coverage_norms_and_duplicates(store: FeatureStore) -> None:
    report = verify(store.path)
    assert "whole" in report
    assert "39 of 40 items have features (97.5%)" in report
    assert "1 ARE ZERO" in report
    assert "3 items share their features with others, in 1 groups" in report
    assert "'4', '8', '12'" in report


def test_verify_refuses_changed_values(store: FeatureStore) -> None:
    content = bytearray((store.path / "features.npy").read_bytes())
    content[-1] ^= 1
    (store.path / "features.npy").write_bytes(content)
    with pytest.raises(FeatureError, match="changed"):
        verify(store.path)


def test_nearest_are_those_of_a_full_comparison(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feature_extraction.stores.contact_sheet._ROWS", 7)
    queries = np.array([0, 4, 39])
    rows, cosines = nearest(store, queries, 5)
    unit = store.features / np.maximum(np.linalg.norm(store.features, axis=1), 1e-9)[:, None]
    for query, row, cosine in zip(queries, rows, cosines, strict=True):
        scores = unit @ unit[query]
        scores[[query, 5]] = -2
        expected = np.argsort(-scores, kind="stable")[:5]
        assert row.tolist() == expected.tolist()
        np.testing.assert_allclose(cosine, scores[expected], atol=1e-6)


def test_few_items_have_few_neighbours(tmp_path: Path) -> None:
    store = write_store(
        tmp_path / "store",
        ids=["a", "b"],
        features=np.ones((2, 3), dtype=np.float32),
        present=np.array([True, True]),
        manifest={},
    )
    rows, _ = nearest(store, np.array([0]), 5)
    assert rows.tolist() == [[1, -1, -1, -1, -1]]
    assert "sheet" in verify(store.path, sheet=tmp_path / "deep" / "sheet.png")


def test_sheet_shows_the_pictures_of_the_items(
    store: FeatureStore, save_images: Callable[[int], Path], tmp_path: Path
) -> None:
    folder = save_images(3)
    Image.new("RGB", (30, 30), (255, 0, 0)).save(folder / "0.png")
    (folder / "4.png").write_text("broken")
    items = ItemInputs(
        store.ids,
        texts=["A title that is a good deal longer than a picture is wide"] * 40,
        images=[f"{row}.png" for row in range(40)],
        image_root=folder,
    )
    verify(store.path, sheet=tmp_path / "sheet.png", items=items)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.getpixel((90, 90)) == (255, 0, 0)  # item 0 comes first
        assert sheet.width > 5 * 160
        assert sheet.height > 12 * 160


def test_command_prints_and_draws(
    store: FeatureStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = tmp_path / "items.csv"
    items.write_text("id,title\n" + "".join(f"{row},item {row}\n" for row in range(40)))
    sheet = tmp_path / "sheet.png"
    options = ["--items", str(items), "--id-column", "id", "--text-columns", "title"]
    assert main(["verify", str(store.path), "--sheet", str(sheet), *options]) == 0
    assert f"sheet: {sheet}" in capsys.readouterr().out
    assert sheet.is_file()
    assert main(["verify", str(store.path), "--items", str(items)]) == 2
    assert "--id-column" in capsys.readouterr().err
