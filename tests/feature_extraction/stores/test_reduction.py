from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from feature_extraction import (
    EncoderSpec,
    ExtractionConfig,
    FeatureError,
    FeatureStore,
    ItemInputs,
    content_key,
    extract,
    write_store,
)
from feature_extraction.cli import main
from feature_extraction.stores.reduction import REDUCTION, Reduction, reduce_store
from feature_extraction.stores.verify import verify

WORDS = ("red", "blue", "hat", "shoe", "a", "b", "c", "d")


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """40 items of 6 columns, most of the variance in few directions; three have no features."""
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(40, 6)) * [5, 3, 1, 1, 0.5, 0.1]) @ rng.normal(size=(6, 6)) + 4
    present = np.ones(40, dtype=np.bool_)
    present[[3, 17, 39]] = False
    features[~present] = 0
    return write_store(
        tmp_path / "full",
        ids=[str(row) for row in range(40)],
        features=features.astype(np.float32),
        present=present,
        manifest={"content_key": "full", "counts": {"items": 40, "present": 37}},
    )


def reduced(store: FeatureStore, size: int, *, whiten: bool = False) -> FeatureStore:
    target = store.path.with_name(f"reduced-{size}-{whiten}")
    return reduce_store(store, target, "key", size, whiten=whiten)


def without_signs(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    return vectors * np.sign(vectors[0])


@pytest.mark.parametrize("whiten", [False, True])
def test_components_equal_those_of_scikit_learn(store: FeatureStore, whiten: bool) -> None:
    small = reduced(store, 3, whiten=whiten)
    oracle = PCA(3, whiten=whiten, svd_solver="full")
    expected = oracle.fit_transform(store.features[store.present].astype(np.float64))
    if whiten:  # whose variance is that of a sample
        expected *= np.sqrt(37 / 36)
    values = small.features[small.present]
    np.testing.assert_allclose(without_signs(values), without_signs(expected), rtol=1e-4, atol=1e-5)
    explained = small.manifest["reduction"]["explained_variance"]
    assert explained == pytest.approx(oracle.explained_variance_ratio_.sum())
    if whiten:
        np.testing.assert_allclose(values.std(0), 1, rtol=1e-5)


def test_items_without_features_stay_masked_and_type_and_ids_stay(store: FeatureStore) -> None:
    small = reduced(store, 2)
    assert small.ids == store.ids
    assert small.features.dtype == store.features.dtype
    np.testing.assert_array_equal(small.present, store.present)
    assert not small.features[~small.present].any()
    assert "coverage: 37 of 40" in verify(small.path)


def test_reduction_of_a_store_reduces_further_features_likewise(store: FeatureStore) -> None:
    small = reduced(store, 4, whiten=True)
    again = Reduction.load(small.path)(store.features[store.present])
    np.testing.assert_allclose(again, small.features[small.present], rtol=1e-5, atol=1e-6)
    (small.path / REDUCTION).write_bytes(b"other")
    with pytest.raises(FeatureError, match="was changed"):
        Reduction.load(small.path)
    with pytest.raises(FeatureError, match="is missing"):
        Reduction.load(store.path)


def test_more_columns_than_the_features_vary_in_are_refused(tmp_path: Path) -> None:
    flat = np.random.default_rng(1).normal(size=(9, 2)) @ np.ones((2, 5))  # one direction
    store = write_store(
        tmp_path / "flat",
        ids=[str(row) for row in range(9)],
        features=flat.astype(np.float32),
        present=np.ones(9, dtype=np.bool_),
        manifest={"content_key": "flat"},
    )
    with pytest.raises(FeatureError, match="1 to 1 columns"):
        reduced(store, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["flat"]
    assert reduced(store, 1).features.shape == (9, 1)


def test_extraction_reduces_once_and_keeps_the_full_store_for_other_sizes(
    tmp_path: Path, bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = ItemInputs(list(WORDS), texts=list(WORDS))
    quiet = ExtractionConfig(progress=False)

    def run(**fields: object) -> FeatureStore:
        spec = EncoderSpec("bert", str(bert_folder), **fields)  # type: ignore[arg-type]
        store = extract(inputs, spec, tmp_path, name="text", config=quiet)
        assert store.manifest["content_key"] == content_key(inputs, spec)
        return store

    small = run(reduce=3)
    assert small.features.shape == (8, 3)
    monkeypatch.setattr("feature_extraction.extraction.extract._compute", None)  # to encode fails
    whitened, full = run(reduce=2, whiten=True), run()
    assert small.manifest["reduction"]["full_store"] == full.path.name
    assert {path.name for path in tmp_path.iterdir()} == {
        store.path.name for store in (small, whitened, full)
    }
    assert run(reduce=3).path == small.path


def test_reduce_is_a_command_of_its_own(
    store: FeatureStore, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(store.path.parent / "out")
    arguments = ["reduce", str(store.path), "--output", output, "--name", "small", "--reduce"]
    assert main([*arguments, "3", "--whiten"]) == 0
    path, _, rest = capsys.readouterr().out.partition(": ")
    assert rest.startswith("3 columns with 9")
    assert main(["show", path]) == 0
    assert "reduction: columns=3, of=6, whitened=True" in capsys.readouterr().out
    assert main([*arguments, "7"]) == 2
    assert "1 to 6 columns" in capsys.readouterr().err


@pytest.mark.parametrize("fields", [{"reduce": 0}, {"whiten": True}])
def test_reduction_without_a_size_is_refused(fields: dict[str, bool]) -> None:
    with pytest.raises(FeatureError, match="reduce"):
        EncoderSpec("bert", "owner/model", **fields)  # type: ignore[arg-type]
