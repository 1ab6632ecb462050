import dataclasses
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from feature_extraction import (
    EncoderSpec,
    ExtractionConfig,
    FeatureError,
    FeatureStore,
    ItemInputs,
    content_key,
    extract,
)
from feature_extraction.encoders.model_files import identify
from tests.feature_extraction.conftest import BERT_DIM, BERT_TOKENS, CLIP_DIM, COMMIT
from tests.feature_extraction.encoders.encoding import encoded_texts

IDS = ("a", "b", "c", "d", "e")
TEXTS = ("red hat", None, "a blue shoe and a red hat", " \n", "blue")


@pytest.fixture
def texts() -> ItemInputs:
    return ItemInputs(ids=IDS, texts=TEXTS)


@pytest.fixture
def bert(bert_folder: Path) -> EncoderSpec:
    return EncoderSpec("bert", str(bert_folder))


@pytest.fixture
def clip(clip_folder: Path) -> EncoderSpec:
    return EncoderSpec("clip-image", str(clip_folder))


def run(inputs: ItemInputs, spec: EncoderSpec, root: Path, **options: Any) -> FeatureStore:
    name = options.pop("name", "x")
    config = ExtractionConfig(**{"device": "cpu", "progress": False} | options)
    return extract(inputs, spec, root, name=name, config=config)


def test_each_vector_is_in_the_row_of_its_item(
    texts: ItemInputs, bert: EncoderSpec, tmp_path: Path
) -> None:
    store = run(texts, bert, tmp_path, batch_size=2)
    assert store.ids == IDS
    for row, text in enumerate(TEXTS):
        given = text is not None and bool(text.strip())
        assert store.present[row] == given
        expected = encoded_texts(bert, [text])[0] if text and given else np.zeros(BERT_DIM)
        np.testing.assert_allclose(store.features[row], expected, atol=1e-6)


def test_features_do_not_depend_on_the_batch_size(
    texts: ItemInputs,
    bert: EncoderSpec,
    clip: EncoderSpec,
    save_images: Callable[[int], Path],
    tmp_path: Path,
) -> None:
    folder = save_images(5)
    images = ItemInputs(ids=IDS, images=[f"{i}.png" for i in range(5)], image_root=folder)
    tower = dataclasses.replace(clip, kind="clip-text")
    for inputs, spec in ((texts, bert), (texts, tower), (images, clip)):
        one, three, many = (
            run(inputs, spec, tmp_path / f"{spec.kind}-{size}", batch_size=size)
            for size in (1, 3, 64)
        )
        assert np.linalg.norm(one.features[0] - one.features[4]) > 1e-3
        for other in (three, many):
            assert one.path.name == other.path.name
            np.testing.assert_allclose(one.features, other.features, atol=1e-5)


def test_same_inputs_are_not_extracted_again(
    texts: ItemInputs, bert: EncoderSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="feature_extraction")
    with pytest.raises(FeatureError, match="nowhere"):  # extracting needs a device
        run(texts, bert, tmp_path, device="nowhere")
    first = run(texts, bert, tmp_path)
    second = run(texts, bert, tmp_path, device="nowhere", batch_size=1)
    assert second.path == first.path == tmp_path / f"x-{content_key(texts, bert)[:16]}"
    np.testing.assert_array_equal(first.features, second.features)
    messages = [record.getMessage() for record in caplog.records if "present" in record.message]
    assert [message.split()[0] for message in messages] == ["extracted", "reused"]
    assert all("5 items, 3 present, 2 missing, 0 failed, 0 trunc" in text for text in messages)


@pytest.mark.parametrize("name", ["features.npy", "manifest.json"])
def test_damaged_store_is_extracted_again(
    texts: ItemInputs, bert: EncoderSpec, tmp_path: Path, name: str
) -> None:
    first = run(texts, bert, tmp_path)
    expected = np.array(first.features)
    content = bytearray((first.path / name).read_bytes())
    content[-3] ^= 1
    (first.path / name).write_bytes(content)
    np.testing.assert_array_equal(run(texts, bert, tmp_path).features, expected)
    assert len(list(tmp_path.glob("x-*.damaged-*"))) == 1


def test_key_changes_with_every_part_of_the_inputs(
    texts: ItemInputs, bert: EncoderSpec, bert_folder: Path, tmp_path: Path
) -> None:
    edited = Path(shutil.copytree(bert_folder, tmp_path / "edited"))
    weights = load_file(edited / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][5, 0] += 1
    save_file(weights, edited / "model.safetensors", metadata={"format": "pt"})
    cased = Path(shutil.copytree(bert_folder, tmp_path / "cased"))
    file = cased / "tokenizer.json"
    file.write_text(file.read_text().replace('"lowercase": true', '"lowercase": false'))

    def changed(**fields: Any) -> str:
        return content_key(texts, dataclasses.replace(bert, **fields))

    keys = [
        content_key(texts, bert),
        content_key(ItemInputs(ids=("a", "b", "c", "e", "d"), texts=TEXTS), bert),
        content_key(ItemInputs(ids=IDS, texts=(*TEXTS[:4], "blu")), bert),
        content_key(ItemInputs(ids=IDS[:4], texts=TEXTS[:4]), bert),
        content_key(ItemInputs(ids=IDS, texts=TEXTS[::-1]), bert),
        changed(name=str(edited)),
        changed(name=str(cased)),
        changed(name="owner/model", revision=COMMIT),
        changed(name="owner/model", revision=COMMIT[::-1]),
        changed(name="owner/other", revision=COMMIT),
        changed(kind="clip-text"),
        changed(pooling="cls"),
        changed(max_length=5),
        changed(dtype="float16"),
        changed(precision="bfloat16"),
        changed(long_texts="head+tail"),
    ]
    assert len(set(keys)) == len(keys)


def test_key_of_items_cannot_be_confused_by_line_breaks(bert: EncoderSpec) -> None:
    one = ItemInputs(ids=("a", "b"), texts=('x"]\n["b", "y', "z"))
    two = ItemInputs(ids=("a", "b"), texts=("x", 'y"]\n["b", "z'))
    assert content_key(one, bert) != content_key(two, bert)


def test_key_follows_image_bytes_and_preprocessing_and_not_the_place_of_files(
    clip: EncoderSpec, save_images: Callable[[int], Path], tmp_path: Path
) -> None:
    folder = save_images(2)
    inputs = ItemInputs(ids=("a", "b"), images=["0.png", "1.png"], image_root=folder)
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    key = content_key(inputs, clip)
    assert content_key(dataclasses.replace(inputs, image_root=moved), clip) == key

    model = Path(shutil.copytree(clip.name, tmp_path / "model"))
    assert content_key(inputs, dataclasses.replace(clip, name=str(model))) == key
    file = model / "preprocessor_config.json"
    file.write_text(file.read_text().replace('"resample": 3', '"resample": 2'))
    keys = {key, content_key(inputs, dataclasses.replace(clip, name=str(model)))}

    swapped = dataclasses.replace(inputs, images=["1.png", "0.png"])
    none = dataclasses.replace(inputs, images=["0.png", None])
    keys |= {content_key(swapped, clip), content_key(none, clip)}
    Image.new("RGB", (9, 9)).save(folder / "1.png")
    keys.add(content_key(inputs, clip))
    (folder / "1.png").unlink()
    keys.add(content_key(inputs, clip))
    assert len(keys) == 6


def test_images_that_fail_are_masked_and_recorded_with_the_reason(
    clip: EncoderSpec, save_images: Callable[[int], Path], tmp_path: Path
) -> None:
    folder = save_images(2)
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no image")
    (folder / "cut.png").write_bytes((folder / "1.png").read_bytes()[:400])
    (tmp_path / "secret.png").write_bytes((folder / "0.png").read_bytes())
    reasons = {
        "empty.png": "the file is empty",
        "text.png": "not an image of a known format",
        "cut.png": "cannot be decoded",
        "absent.png": "file not found",
        "../secret.png": "outside the image folder",
    }
    images = ["0.png", *reasons, None, "", "1.png"]
    ids = [f"item {index}" for index in range(len(images))]
    inputs = ItemInputs(ids=ids, images=images, image_root=folder)
    store = run(inputs, clip, tmp_path / "stores", batch_size=3)

    assert store.present.tolist() == [True, *[False] * 7, True]
    assert not store.features[1:8].any()
    assert store.features[[0, 8]].any(axis=1).all()
    failures = store.failures
    assert [(failure["item"], failure["file"]) for failure in failures] == [
        (f"item {index}", name) for index, name in enumerate(reasons, start=1)
    ]
    for failure, reason in zip(failures, reasons.values(), strict=True):
        assert failure["reason"].startswith(reason)
    assert store.manifest["counts"] == {
        "items": 9,
        "present": 2,
        "missing": 2,
        "failed": 5,
        "truncated": 0,
        "chunked": 0,
    }


def test_cut_texts_are_counted(bert: EncoderSpec, tmp_path: Path) -> None:
    # Two special tokens: the first text fits exactly, the others are too long.
    texts = ["x " * (BERT_TOKENS - 2), "x " * (BERT_TOKENS - 1), "x " * 500, "x"]
    store = run(ItemInputs(ids=IDS[:4], texts=texts), bert, tmp_path)
    assert store.manifest["counts"]["truncated"] == 2
    shorter = dataclasses.replace(bert, max_length=3)
    store = run(ItemInputs(ids=IDS[:4], texts=texts), shorter, tmp_path)
    assert store.manifest["counts"]["truncated"] == 3
    assert store.manifest["preprocessing"] == {"max_length": 3, "long_texts": "truncate"}


def test_features_are_stored_in_half_precision_when_asked(
    texts: ItemInputs, bert: EncoderSpec, tmp_path: Path
) -> None:
    half = run(texts, dataclasses.replace(bert, dtype="float16"), tmp_path)
    assert half.features.dtype == np.float16
    np.testing.assert_allclose(half.features, run(texts, bert, tmp_path).features, atol=2e-3)


def test_vectors_that_overflow_are_masked_and_recorded(
    texts: ItemInputs, bert: EncoderSpec, bert_folder: Path, tmp_path: Path
) -> None:
    loud = Path(shutil.copytree(bert_folder, tmp_path / "loud"))
    weights = load_file(loud / "model.safetensors")
    weights["encoder.layer.1.output.LayerNorm.weight"] *= 1e6
    save_file(weights, loud / "model.safetensors", metadata={"format": "pt"})
    spec = dataclasses.replace(bert, name=str(loud))
    assert run(texts, spec, tmp_path).present.sum() == 3
    with pytest.raises(FeatureError, match="not finite in float16"):
        run(texts, dataclasses.replace(spec, dtype="float16"), tmp_path)


def test_manifest_says_how_the_features_came_to_be(
    texts: ItemInputs, bert: EncoderSpec, tmp_path: Path
) -> None:
    manifest = run(texts, dataclasses.replace(bert, pooling="cls"), tmp_path).manifest
    assert manifest["encoder"] | {"files": None} == {
        "kind": "bert",
        "name": bert.name,
        "revision": None,
        "commit": None,
        "precision": "float32",
        "files": None,
    }
    assert manifest["encoder"]["files"] == dict(identify(bert).files)
    assert manifest["pooling"] == "cls"
    assert manifest["preprocessing"] == {"max_length": BERT_TOKENS, "long_texts": "truncate"}
    assert {"torch", "transformers", "pillow", "numpy"} <= manifest["libraries"].keys()


def test_manifest_of_images_names_their_preprocessing(
    clip: EncoderSpec, save_images: Callable[[int], Path], tmp_path: Path
) -> None:
    inputs = ItemInputs(ids=("a",), images=[save_images(1) / "0.png"])
    store = run(inputs, clip, tmp_path)
    assert store.features.shape == (1, CLIP_DIM)
    preprocessing = store.manifest["preprocessing"]
    assert preprocessing["size"] == {"shortest_edge": 32}
    assert preprocessing["resample"] == "bicubic"
    assert len(preprocessing["image_mean"]) == len(preprocessing["image_std"]) == 3


def test_hub_model_runs_from_a_filled_cache_and_records_its_commit(
    offline_hub: Path, bert_folder: Path, texts: ItemInputs, bert: EncoderSpec, tmp_path: Path
) -> None:
    repository = offline_hub / "models--owner--model"
    shutil.copytree(bert_folder, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    store = run(texts, EncoderSpec("bert", "owner/model"), tmp_path)
    assert store.manifest["encoder"]["commit"] == COMMIT
    np.testing.assert_array_equal(store.features, run(texts, bert, tmp_path).features)
    pinned = EncoderSpec("bert", "owner/model", revision=COMMIT)
    assert run(texts, pinned, tmp_path, device="nowhere").path == store.path


@pytest.mark.usefixtures("offline_hub")
def test_pinned_hub_model_that_is_not_cached_says_what_to_do(
    texts: ItemInputs, tmp_path: Path
) -> None:
    with pytest.raises(FeatureError, match="local folder"):
        run(texts, EncoderSpec("bert", "owner/model", revision=COMMIT), tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        {"ids": ()},
        {"ids": ("a", "a")},
        {"ids": ("a", "")},
        {"ids": ("a", 2)},
        {"texts": ("x",)},
        {"images": ("x.png",)},
        {"texts": ("x", float("nan"))},
        {"texts": ("x", "\ud800")},
        {"image_root": Path("absent")},
    ],
)
def test_inputs_that_do_not_fit_together_are_refused(fields: Any) -> None:
    with pytest.raises(FeatureError):
        ItemInputs(**{"ids": ("a", "b"), "texts": ("x", "y")} | fields)


def test_items_without_any_usable_input_are_refused(
    bert: EncoderSpec, clip: EncoderSpec, tmp_path: Path
) -> None:
    for inputs, spec in (
        (ItemInputs(ids=("a", "b"), texts=(None, " ")), bert),
        (ItemInputs(ids=("a", "b"), images=(None, "")), clip),
        (ItemInputs(ids=("a", "b"), texts=("x", "y")), clip),
    ):
        with pytest.raises(FeatureError, match="none of the 2 items"):
            run(inputs, spec, tmp_path)
    broken = ItemInputs(ids=("a", "b"), images=("x.png", "y.png"), image_root=tmp_path)
    with pytest.raises(FeatureError, match=r"item 'a' \(x\.png\): file not found"):
        run(broken, clip, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"name": "../x"}, {"name": ""}, {"batch_size": 0}])
def test_options_out_of_range_are_refused(
    texts: ItemInputs, bert: EncoderSpec, tmp_path: Path, options: Any
) -> None:
    with pytest.raises(FeatureError):
        run(texts, bert, tmp_path, **options)
