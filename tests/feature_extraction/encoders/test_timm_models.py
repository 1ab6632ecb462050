import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from feature_extraction import EncoderSpec, FeatureError
from tests.feature_extraction.encoders.encoding import load, pixels_of

PICTURE = Image.effect_mandelbrot((300, 200), (-3, -2.5, 2, 2.5), 100).convert("RGB")


@pytest.fixture(scope="module")
def timm() -> Any:
    try:
        return importlib.import_module("timm")
    except Exception as error:
        pytest.skip(f"timm cannot be imported ({error}); it needs a torchvision of this torch")


def saved(timm: Any, folder: Path, name: str) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = timm.create_model(name, pretrained=False, num_classes=5).eval()
    cfg = {
        k: v for k, v in model.pretrained_cfg.items() if isinstance(v, int | float | str | tuple)
    }
    config = {"architecture": name, "num_classes": 5, "pretrained_cfg": cfg}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), folder / "model.safetensors")
    return model


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_pooler_is_what_enters_the_classifier(timm: Any, tmp_path: Path, name: str) -> None:
    model = saved(timm, tmp_path, name)
    encoder = load(EncoderSpec("timm", str(tmp_path)))
    inputs = pixels_of(encoder, PICTURE)
    with torch.no_grad():
        features = model.forward_features(inputs["pixel_values"])
        expected = model.forward_head(features, pre_logits=True)
    torch.testing.assert_close(encoder(inputs), expected)
    assert encoder.dim == model.num_features


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_pictures_are_prepared_as_timm_does(timm: Any, tmp_path: Path, name: str) -> None:
    model = saved(timm, tmp_path, name)
    data = importlib.import_module("timm.data")
    transform = data.create_transform(**data.resolve_data_config({}, model=model))
    encoder = load(EncoderSpec("timm", str(tmp_path)))
    pixels = np.asarray(pixels_of(encoder, PICTURE)["pixel_values"][0])
    expected = transform(PICTURE).numpy()
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).max() < 0.05  # a rounding of the resized picture


def test_layers_are_named(timm: Any, tmp_path: Path) -> None:
    model = saved(timm, tmp_path, "test_resnet")
    encoder = load(EncoderSpec("timm", str(tmp_path), options={"layers": ["layer1", "layer4"]}))
    inputs = pixels_of(encoder, PICTURE)
    with torch.no_grad():
        stem = model.maxpool(model.act1(model.bn1(model.conv1(inputs["pixel_values"]))))
        first = model.layer1(stem)
        last = model.layer4(model.layer3(model.layer2(first)))
    expected = torch.cat([first.mean((2, 3)), last.mean((2, 3))], 1)
    torch.testing.assert_close(encoder(inputs), expected)
    assert encoder.preprocessing["layers"] == [
        {"layer": "layer1", "columns": first.shape[1]},
        {"layer": "layer4", "columns": last.shape[1]},
    ]


def test_class_token_is_refused_where_there_is_none(timm: Any, tmp_path: Path) -> None:
    saved(timm, tmp_path, "test_resnet")
    with pytest.raises(FeatureError, match="no class token"):
        load(EncoderSpec("timm", str(tmp_path), pooling="cls"))
    vit = tmp_path / "vit"
    model = saved(timm, vit, "test_vit")
    encoder = load(EncoderSpec("timm", str(vit), pooling="cls"))
    inputs = pixels_of(encoder, PICTURE)
    with torch.no_grad():
        expected = model.forward_features(inputs["pixel_values"])[:, 0]
    torch.testing.assert_close(encoder(inputs), expected)


def test_unknown_architecture_or_other_weights_are_refused(timm: Any, tmp_path: Path) -> None:
    saved(timm, tmp_path, "test_resnet")
    config = json.loads((tmp_path / "config.json").read_text())
    for wrong in ("test_vit", "no_such_model"):
        (tmp_path / "config.json").write_text(json.dumps(config | {"architecture": wrong}))
        with pytest.raises(FeatureError, match="cannot be loaded"):
            load(EncoderSpec("timm", str(tmp_path)))


def test_without_timm_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)  # as if it were not there
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(FeatureError, match="the kind timm needs timm"):
        load(EncoderSpec("timm", str(tmp_path)))
