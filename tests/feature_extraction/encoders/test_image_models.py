from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from feature_extraction import EncoderSpec, FeatureError, ItemInputs, content_key
from tests.feature_extraction.encoders.encoding import load, pixels_of
from tests.feature_extraction.encoders.tiny_models import VISION, saved_vision

PICTURE = Image.radial_gradient("L").convert("RGB")
WITH_CLASS = {"vit": 1, "dinov2": 1, "dinov3": 3}
"""Tokens before those of the patches."""
POOLED = [name for name in VISION if name != "masked"]


def outputs(model: Any, inputs: Any) -> Any:
    with torch.no_grad():
        return model(**inputs, output_hidden_states=True)


def mean_of(hidden: torch.Tensor, name: str) -> torch.Tensor:
    if hidden.ndim == 4:
        return hidden.mean((2, 3))
    return hidden[:, WITH_CLASS.get(name, 0) :].mean(1)


@pytest.mark.parametrize("name", POOLED)
def test_any_vision_model_is_pooled_by_its_pooler_or_by_the_mean(tmp_path: Path, name: str) -> None:
    model = saved_vision(tmp_path, name)
    encoder = load(EncoderSpec("image", str(tmp_path)))
    inputs = pixels_of(encoder, PICTURE)
    expected = outputs(model, inputs)
    torch.testing.assert_close(encoder(inputs), expected.pooler_output.flatten(1))
    assert encoder(inputs).std() > 0.01
    assert encoder.pooling == "pooler"
    mean = load(EncoderSpec("image", str(tmp_path), pooling="mean"))
    torch.testing.assert_close(mean(inputs), mean_of(expected.last_hidden_state, name))


@pytest.mark.parametrize("name", POOLED)
def test_class_token_is_taken_where_there_is_one_and_refused_elsewhere(
    tmp_path: Path, name: str
) -> None:
    model = saved_vision(tmp_path, name)
    spec = EncoderSpec("image", str(tmp_path), pooling="cls")
    if name not in WITH_CLASS:
        with pytest.raises(FeatureError, match="no class token"):
            load(spec)
        return
    inputs = pixels_of(load(spec), PICTURE)
    expected = outputs(model, inputs).last_hidden_state[:, 0]
    torch.testing.assert_close(load(spec)(inputs), expected)


@pytest.mark.parametrize("name", ["vit", "convnext", "swin"])
def test_layers_by_index_come_out_of_one_pass_one_behind_the_other(
    tmp_path: Path, name: str
) -> None:
    model = saved_vision(tmp_path, name)
    spec = EncoderSpec("image", str(tmp_path), pooling="mean", options={"layers": [1, -1]})
    encoder = load(spec)
    inputs = pixels_of(encoder, PICTURE)
    states = outputs(model, inputs).hidden_states
    expected = torch.cat([mean_of(states[1], name), mean_of(states[-1], name)], 1)
    passes = []
    encoder.model.register_forward_hook(lambda *_: passes.append(1))  # type: ignore[attr-defined]
    torch.testing.assert_close(encoder(inputs), expected)
    assert len(passes) == 1
    sizes = [mean_of(states[index], name).shape[1] for index in (1, -1)]
    assert encoder.preprocessing["layers"] == [
        {"layer": 1, "columns": sizes[0]},
        {"layer": -1, "columns": sizes[1]},
    ]


def test_layer_by_name_is_what_the_module_gives(tmp_path: Path) -> None:
    model = saved_vision(tmp_path, "resnet")
    spec = EncoderSpec("image", str(tmp_path), options={"layers": ["encoder.stages.0", "pooler"]})
    encoder = load(spec)
    inputs = pixels_of(encoder, PICTURE)
    expected = outputs(model, inputs)
    first, last = expected.hidden_states[1].mean((2, 3)), expected.pooler_output.flatten(1)
    torch.testing.assert_close(encoder(inputs), torch.cat([first, last], 1))
    assert encoder.pooling == "mean"


def test_vector_inside_a_model_is_taken_as_it_is(tmp_path: Path) -> None:
    model = saved_vision(tmp_path, "vit")
    encoder = load(EncoderSpec("image", str(tmp_path), options={"layers": "pooler"}))
    inputs = pixels_of(encoder, PICTURE)
    torch.testing.assert_close(encoder(inputs), outputs(model, inputs).pooler_output)
    assert encoder.pooling == "model"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"layers": 9}, "-3 to 2"),
        ({"layers": "encoder.layers.7"}, "no layer 'encoder.layers.7'"),
        ({"layers": []}, "at least one layer"),
        ({"layers": [1, 1]}, "each once"),
        ({"layers": 1, "pooling": "pooler"}, "only the end"),
        ({"pooling": "last"}, "pooling is 'last'"),
        ({"layers": 1.5}, "layers is 1.5"),
    ],
)
def test_layer_that_is_not_there_is_refused(
    tmp_path: Path, options: dict[str, Any], found: str
) -> None:
    saved_vision(tmp_path, "vit")
    with pytest.raises(FeatureError, match=found):
        load(EncoderSpec("image", str(tmp_path), options=options))


def test_pooler_without_weights_is_no_pooler(tmp_path: Path) -> None:
    """Checkpoints that were trained to classify have none."""
    model = saved_vision(tmp_path, "vit")
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("pooler")}
    assert len(kept) < len(weights)
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    encoder = load(EncoderSpec("image", str(tmp_path)))
    inputs = pixels_of(encoder, PICTURE)
    torch.testing.assert_close(encoder(inputs), outputs(model, inputs).last_hidden_state[:, 0])
    assert encoder.pooling == "cls"
    with pytest.raises(FeatureError, match=r"lack pooler\.dense"):
        load(EncoderSpec("image", str(tmp_path), pooling="pooler"))


def test_model_that_masks_at_random_is_refused(tmp_path: Path) -> None:
    saved_vision(tmp_path, "masked")
    with pytest.raises(FeatureError, match="for the same input"):
        load(EncoderSpec("image", str(tmp_path), pooling="mean"))


def test_model_of_texts_or_of_both_is_refused(clip_folder: Path, bert_folder: Path) -> None:
    for folder in (clip_folder, bert_folder):
        with pytest.raises(FeatureError, match="a vision model"):
            load(EncoderSpec("image", str(folder)))


def test_layers_are_part_of_the_key(tmp_path: Path) -> None:
    saved_vision(tmp_path, "vit")
    inputs = ItemInputs(["a"], images=[b"picture"])
    specs = [
        EncoderSpec("image", str(tmp_path), options=options)
        for options in ({}, {"layers": 1}, {"layers": [1, 2]}, {"pooling": "mean"})
    ]
    assert len({content_key(inputs, spec) for spec in specs}) == len(specs)
