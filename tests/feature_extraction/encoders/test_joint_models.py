from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer

from feature_extraction import EncoderSpec, FeatureError
from tests.feature_extraction.encoders.encoding import encoded_texts, load, pixels_of
from tests.feature_extraction.encoders.tiny_models import (
    saved_align,
    saved_chinese_clip,
    saved_siglip,
)

PICTURE = Image.radial_gradient("L").convert("RGB")
CAPTIONS = ["red hat", "a blue shoe"]
FAMILIES: dict[str, Callable[[Path, Path], Path]] = {
    "siglip": saved_siglip,
    "chinese_clip": saved_chinese_clip,
    "align": saved_align,
}


@pytest.mark.parametrize("family", ["clip", *FAMILIES])
def test_picture_and_caption_are_as_near_as_the_model_says(
    tmp_path: Path, clip_folder: Path, bert_folder: Path, family: str
) -> None:
    folder = clip_folder if family == "clip" else FAMILIES[family](tmp_path, bert_folder)
    images, texts = (
        EncoderSpec("clip", str(folder), options={"side": side}) for side in ("image", "text")
    )
    encoder = load(images)
    pixels = pixels_of(encoder, PICTURE)
    cosines = normalize(encoder(pixels)) @ normalize(encoded_texts(texts, CAPTIONS)).T

    model = AutoModel.from_pretrained(folder).eval()
    padding = (
        {"padding": "max_length", "max_length": 16} if family == "siglip" else {"padding": True}
    )
    tokens = AutoTokenizer.from_pretrained(folder)(CAPTIONS, return_tensors="pt", **padding)
    named = {"input_ids": tokens["input_ids"]}
    if family != "siglip":
        named["attention_mask"] = tokens["attention_mask"]
    with torch.no_grad():
        logits = model(**named, **pixels).logits_per_image
    # Scale and shift differ by family: what is compared is how much nearer one caption is.
    scales = {
        "clip": lambda: model.logit_scale.exp(),
        "chinese_clip": lambda: model.logit_scale.exp(),
        "siglip": lambda: model.logit_scale.exp(),
        "align": lambda: 1 / model.temperature,
    }
    nearer = (logits[0, 0] - logits[0, 1]) / scales[family]().detach()
    torch.testing.assert_close(
        cosines[0, 0] - cosines[0, 1], nearer.squeeze(), rtol=1e-3, atol=1e-6
    )
    assert abs(nearer) > 1e-5


def test_sides_of_clip_are_its_old_kinds(clip_folder: Path) -> None:
    new, old = (
        load(EncoderSpec(kind, str(clip_folder), options=options))
        for kind, options in (("clip", {"side": "image"}), ("clip-image", {}))
    )
    assert torch.equal(new(pixels_of(new, PICTURE)), old(pixels_of(old, PICTURE)))
    new_texts, old_texts = (
        encoded_texts(EncoderSpec(kind, str(clip_folder), options=options), CAPTIONS)
        for kind, options in (("clip", {"side": "text"}), ("clip-text", {}))
    )
    assert torch.equal(new_texts, old_texts)


def test_side_has_to_be_named_and_options_to_fit_it(bert_folder: Path) -> None:
    with pytest.raises(FeatureError, match="without side"):
        EncoderSpec("clip", "owner/model")
    with pytest.raises(FeatureError, match="with side image"):
        EncoderSpec("clip", "owner/model", max_length=5, options={"side": "image"})
    with pytest.raises(FeatureError, match="align, chinese_clip"):
        load(EncoderSpec("clip", str(bert_folder), options={"side": "text"}))
