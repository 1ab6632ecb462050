"""What stores in use were made with: to the last bit what the plain model gives, pooled."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModel

from feature_extraction import EncoderSpec, Item
from tests.feature_extraction.encoders.encoding import load, pixels_of, prepared
from tests.feature_extraction.encoders.tiny_models import saved_siglip, saved_vision

Reference = Callable[[Any, Mapping[str, Any]], Tensor]


def masked_mean(model: Any, inputs: Mapping[str, Any]) -> Tensor:
    hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    summed: Tensor = (hidden * mask).sum(1)
    return summed / mask.sum(1)


IMAGES: list[tuple[str, str, Any, Reference]] = [
    ("clip-image", "clip", None, lambda m, x: m.get_image_features(**x).pooler_output),
    ("siglip-image", "siglip", None, lambda m, x: m.get_image_features(**x).pooler_output),
    ("vit", "vit", None, lambda m, x: m(**x).last_hidden_state[:, 0]),
    ("vit", "vit", "mean", lambda m, x: m(**x).last_hidden_state[:, 1:].float().mean(1)),
]
TEXTS: list[tuple[str, str, Any, Reference]] = [
    ("clip-text", "clip", None, lambda m, x: m.get_text_features(**x).pooler_output),
    (
        "siglip-text",
        "siglip",
        None,
        lambda m, x: m.get_text_features(input_ids=x["input_ids"]).pooler_output,
    ),
    ("bert", "bert", None, masked_mean),
    ("bert", "bert", "cls", lambda m, x: m(**x).last_hidden_state[:, 0]),
]


@pytest.fixture
def folders(tmp_path: Path, clip_folder: Path, bert_folder: Path) -> dict[str, Path]:
    saved_vision(tmp_path / "vit", "vit")
    siglip = saved_siglip(tmp_path / "siglip", bert_folder)
    return {"clip": clip_folder, "bert": bert_folder, "siglip": siglip, "vit": tmp_path / "vit"}


@pytest.mark.parametrize(("kind", "model", "pooling", "reference"), IMAGES)
def test_images_are_encoded_as_ever(
    folders: dict[str, Path], kind: str, model: str, pooling: Any, reference: Reference
) -> None:
    encoder = load(EncoderSpec(kind, str(folders[model]), pooling=pooling))
    inputs = pixels_of(encoder, Image.radial_gradient("L").convert("RGB"))
    plain = AutoModel.from_pretrained(folders[model]).eval()
    with torch.inference_mode():
        assert torch.equal(encoder(inputs), reference(plain, inputs))


@pytest.mark.parametrize(("kind", "model", "pooling", "reference"), TEXTS)
def test_texts_are_encoded_as_ever(
    folders: dict[str, Path], kind: str, model: str, pooling: Any, reference: Reference
) -> None:
    encoder = load(EncoderSpec(kind, str(folders[model]), pooling=pooling))
    items = [Item("a", "red hat"), Item("b", "a blue shoe and a hat")]
    (batch,) = prepared(encoder, items).batches
    plain = AutoModel.from_pretrained(folders[model]).eval()
    inputs = {name: torch.as_tensor(values) for name, values in batch.inputs.items()}
    with torch.inference_mode():
        assert torch.equal(encoder(batch.inputs), reference(plain, inputs))
