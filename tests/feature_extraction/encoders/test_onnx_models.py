import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModel, ResNetModel

from feature_extraction import EncoderSpec, FeatureError
from tests.feature_extraction.encoders.encoding import encoded_texts, load, pixels_of
from tests.feature_extraction.encoders.tiny_models import saved_vision

for _name in ("onnx", "onnxruntime"):
    pytest.importorskip(_name, reason=f"{_name} is not installed (extra `export`)")

PICTURE = Image.radial_gradient("L").convert("RGB")
TEXTS = ["red hat", "a red shoe and a blue hat"]


class _Tuple(torch.nn.Module):
    """A model of transformers with tensors as output, as the exporter wants it."""

    def __init__(self, model: Any, names: tuple[str, ...], output: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names, self.output = model, names, output

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.model(**dict(zip(self.names, inputs, strict=True)))
        return tuple(getattr(found, name) for name in self.output)


def exported(
    folder: Path, model: Any, inputs: dict[str, torch.Tensor], output: tuple[str, ...]
) -> None:
    dynamic = {name: {0: "b"} for name in output}
    dynamic |= {
        name: {0: "b", 1: "t"} if values.ndim == 2 else {0: "b"} for name, values in inputs.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        torch.onnx.export(
            _Tuple(model.eval(), tuple(inputs), output),
            tuple(inputs.values()),
            folder / "model.onnx",
            input_names=list(inputs),
            output_names=list(output),
            dynamic_axes=dynamic,
            dynamo=False,
        )


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "image"
    saved_vision(folder, "resnet")
    pixels = {"pixel_values": torch.zeros(1, 3, 32, 32)}
    exported(folder, ResNetModel.from_pretrained(folder), pixels, ("last_hidden_state",))
    return folder


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory, bert_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "text"
    shutil.copytree(bert_folder, folder)
    tokens = torch.ones(1, 4, dtype=torch.int64)
    names = ("input_ids", "attention_mask", "token_type_ids")
    exported(
        folder,
        AutoModel.from_pretrained(folder, attn_implementation="eager"),
        dict.fromkeys(names, tokens),
        ("last_hidden_state", "pooler_output"),
    )
    (folder / "model.safetensors").unlink()
    return folder


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_places_of_an_image_are_pooled(image_folder: Path, pooling: Any) -> None:
    encoder = load(EncoderSpec("onnx-image", str(image_folder), pooling=pooling))
    inputs = pixels_of(encoder, PICTURE)
    plain = load(EncoderSpec("image", str(image_folder), pooling=pooling))
    torch.testing.assert_close(encoder(inputs), plain(inputs), rtol=1e-4, atol=1e-5)


def test_texts_give_what_the_exported_model_gives(text_folder: Path, bert_folder: Path) -> None:
    """The vector of the whole text by its usual name, or the tokens of a named output."""
    for options, pooling in (({}, "pooler"), ({"output": "last_hidden_state"}, "mean")):
        vectors = encoded_texts(EncoderSpec("onnx-text", str(text_folder), options=options), TEXTS)
        expected = encoded_texts(EncoderSpec("text", str(bert_folder), pooling=pooling), TEXTS)
        torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5)


def test_onnx_file_that_cannot_be_used_is_refused(
    tmp_path: Path, image_folder: Path, text_folder: Path
) -> None:
    with pytest.raises(FeatureError, match="no output 'x'"):
        load(EncoderSpec("onnx-image", str(image_folder), options={"output": "x"}))
    with pytest.raises(FeatureError, match="no class token"):
        load(EncoderSpec("onnx-image", str(image_folder), pooling="cls"))
    with pytest.raises(FeatureError, match="precision is float16"):
        load(EncoderSpec("onnx-image", str(image_folder), precision="float16"))
    saved_vision(tmp_path / "plain", "resnet")
    with pytest.raises(FeatureError, match=r"no model\.onnx"):
        load(EncoderSpec("onnx-image", str(tmp_path / "plain")))
    other = shutil.copytree(image_folder, tmp_path / "other")
    shutil.copy(text_folder / "model.onnx", other / "model.onnx")
    with pytest.raises(FeatureError, match="takes 'input_ids'"):
        load(EncoderSpec("onnx-image", str(other)))
    (other / "model.onnx").write_bytes(b"no model")
    with pytest.raises(FeatureError, match="cannot be loaded"):
        load(EncoderSpec("onnx-image", str(other)))


def test_weights_outside_the_file_are_not_read(tmp_path: Path, image_folder: Path) -> None:
    """They would be no part of the content key, and could be anywhere."""
    import onnx

    folder = shutil.copytree(image_folder, tmp_path / "outside")
    model = onnx.load(folder / "model.onnx")
    onnx.save(
        model,
        folder / "model.onnx",
        save_as_external_data=True,
        location="weights",
        size_threshold=0,
    )
    assert (folder / "weights").exists()
    with pytest.raises(FeatureError, match="cannot be loaded"):
        load(EncoderSpec("onnx-image", str(folder)))
