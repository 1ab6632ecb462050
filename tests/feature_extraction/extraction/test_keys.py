"""Content keys as they were when stores were written that are in use: these stores stay valid."""

from pathlib import Path
from typing import Any

import pytest

from feature_extraction import EncoderSpec, ItemInputs, content_key
from tests.feature_extraction.conftest import COMMIT

TEXTS = ItemInputs(["a", "b", "c"], texts=["red <b>hat</b>", None, "x &amp; y"])
IMAGES = ItemInputs(["a", "b", "c"], images=[b"one", None, [b"two", b"three"]])


@pytest.mark.parametrize(
    ("inputs", "kind", "fields", "key"),
    [
        (
            IMAGES,
            "clip-image",
            {},
            "83e4a92c9fe81111fd69e1981577f079a021b6fbbe030538fec2575b58cefd34",
        ),
        (
            IMAGES,
            "clip-image",
            {"pooling": "mean"},
            "83e4a92c9fe81111fd69e1981577f079a021b6fbbe030538fec2575b58cefd34",
        ),
        (
            TEXTS,
            "clip-text",
            {},
            "69a5f714304d199f2cd8da5636da84f5935b8f09b47357f08dc6df191fa0555b",
        ),
        (
            IMAGES,
            "siglip-image",
            {},
            "206efb21b2fdd41bac2f08e9d4d6fd4b8665908e605807ba9c6ec42491dbef8a",
        ),
        (
            TEXTS,
            "siglip-text",
            {"max_length": 9},
            "c65ac10c18219015e5dcd5ff74c5b0bb7ed613275bddafc189b0b0af9d6c7db5",
        ),
        (
            IMAGES,
            "vit",
            {"pooling": "mean", "dtype": "float16", "precision": "bfloat16"},
            "857a77490af4b22112022eb3fb75c07aac33d550347f97082329feff71c4074a",
        ),
        (
            TEXTS,
            "bert",
            {"long_texts": "chunk+mean"},
            "1c8e2573d917442deaae6eb483be7b1aacac53e06d3ec67e7ccf8d34a612eb2d",
        ),
        (
            TEXTS,
            "bert",
            {"pooling": "cls", "max_length": 5},
            "65b8aaedf04f42d2cb78a1db582f51d2bb5e3f7f8183aff67a7dece34db8f58e",
        ),
    ],
)
def test_key_of_an_existing_store(
    inputs: ItemInputs, kind: str, fields: dict[str, Any], key: str
) -> None:
    assert content_key(inputs, EncoderSpec(kind, "owner/model", COMMIT, **fields)) == key


def test_key_of_named_images_and_of_a_local_model(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"zero")
    images = ["0.png", "../0.png", "1.png"]
    inputs = ItemInputs(["a", "b", "c"], images=images, image_root=tmp_path)
    key = content_key(inputs, EncoderSpec("vit", "owner/model", COMMIT))
    assert key == "03fb6e883f0b182b1fe2390d1734d0f4bb2d2eb50222d8f415fd342879b727e2"

    model = tmp_path / "model"
    (model / "1_Pooling").mkdir(parents=True)
    for name, content in {
        "config.json": "{}",
        "model.safetensors": "w",
        "modules.json": "[]",
        "1_Pooling/config.json": "{}",
    }.items():
        (model / name).write_text(content)
    key = content_key(TEXTS, EncoderSpec("sentence-transformer", str(model)))
    assert key == "93be49ccac4291ee34e0935d714c61994010bf80b991aaa28a3eece50fe2df22"


def test_option_and_field_of_one_name_give_one_key() -> None:
    field = EncoderSpec("bert", "owner/model", COMMIT, pooling="cls", max_length=5)
    option = EncoderSpec("bert", "owner/model", COMMIT, options={"pooling": "cls", "max_length": 5})
    assert content_key(TEXTS, field) == content_key(TEXTS, option)
