from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTModel,
    AutoModel,
    ClapAudioConfig,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapTextConfig,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from feature_extraction import (
    EncoderSpec,
    ExtractionConfig,
    FeatureError,
    FeatureStore,
    Item,
    ItemInputs,
    extract,
)
from feature_extraction.encoders.audio_preparation import equal_pieces
from feature_extraction.encoders.preparation import Prepared
from tests.feature_extraction.conftest import LAYERS
from tests.feature_extraction.encoders.encoding import load, prepared
from tests.feature_extraction.encoders.tiny_models import seeded

soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed (extra `audio`)")

RATE = 16_000
WHISPER = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_mel_bins": 16,
    "max_source_positions": 50,  # one second
    "max_target_positions": 20,
}
WAVES = {
    "conv_dim": (8, 8),
    "conv_stride": (50, 8),
    "conv_kernel": (100, 16),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
TOKENS = {"vocab_size": 60, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
CLAP = {
    "spec_size": 64,
    "num_mel_bins": 16,
    "patch_embeds_hidden_size": 8,
    "depths": [1, 1],
    "num_attention_heads": [1, 2],
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "window_size": 2,
    "projection_dim": 8,
}
MODELS: dict[str, tuple[Any, Any, Any]] = {
    "ast": (
        ASTModel,
        ASTConfig(**LAYERS, max_length=64, num_mel_bins=32),
        ASTFeatureExtractor(max_length=64, num_mel_bins=32),
    ),
    "wav2vec2": (Wav2Vec2Model, Wav2Vec2Config(**LAYERS, **WAVES), Wav2Vec2FeatureExtractor()),
    "whisper": (
        WhisperModel,
        WhisperConfig(**WHISPER, **TOKENS, decoder_start_token_id=1),
        WhisperFeatureExtractor(feature_size=16, chunk_length=1),
    ),
    "clap": (
        ClapModel,
        ClapConfig(
            text_config=ClapTextConfig(**LAYERS, **TOKENS, projection_dim=8).to_dict(),
            audio_config=ClapAudioConfig(**CLAP).to_dict(),
            projection_dim=8,
        ),
        ClapFeatureExtractor(
            feature_size=16, sampling_rate=RATE, max_length_s=1, truncation="rand_trunc"
        ),
    ),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sound models")
    for name, (model, config, extractor) in MODELS.items():
        seeded(model, config).eval().save_pretrained(root / name)
        extractor.save_pretrained(root / name)
    return {name: root / name for name in MODELS}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One short, one of two channels and another rate, one long; silence; what is no sound."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    soundfile.write(folder / "short.wav", 0.1 * rng.normal(size=RATE // 2), RATE)
    soundfile.write(folder / "stereo.flac", 0.1 * rng.normal(size=(22_050, 2)), 44_100)
    soundfile.write(folder / "long.ogg", 0.1 * rng.normal(size=2 * RATE + 77), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    (folder / "broken.mp3").write_bytes(b"ID3 no sound")
    return folder


def prepared_sounds(encoder: Any, folder: Path, *names: str) -> Prepared:
    return prepared(
        encoder, [Item(n, inputs={"audio": [(folder / n).read_bytes()]}) for n in names]
    )


def one_piece(folder: Path) -> np.ndarray:
    samples, _ = soundfile.read(folder / "short.wav", dtype="float32")
    return np.asarray(samples)


@pytest.mark.parametrize("name", MODELS)
def test_usual_pooling_is_what_the_plain_model_gives(
    folders: dict[str, Path], sounds: Path, name: str
) -> None:
    encoder = load(EncoderSpec("audio", str(folders[name])))
    (batch,) = prepared_sounds(encoder, sounds, "short.wav").batches
    model = AutoModel.from_pretrained(folders[name]).eval()
    extractor = MODELS[name][2]
    inputs = extractor(one_piece(sounds), sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        if name == "ast":
            expected = model(**inputs).pooler_output
        elif name == "wav2vec2":
            expected = model(**inputs).last_hidden_state.mean(1)
        elif name == "whisper":  # half of its second has sound
            expected = model.get_encoder()(**inputs).last_hidden_state[:, :25].mean(1)
        else:
            expected = model.get_audio_features(**inputs).pooler_output
    torch.testing.assert_close(encoder(batch.inputs), expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 1e-4


@pytest.mark.parametrize("name", ["ast", "wav2vec2", "whisper"])
def test_layers_of_sounds_come_out_of_one_pass(
    folders: dict[str, Path], sounds: Path, name: str
) -> None:
    spec = EncoderSpec("audio", str(folders[name]), pooling="max", options={"layers": [0, -1]})
    encoder = load(spec)
    (batch,) = prepared_sounds(encoder, sounds, "short.wav").batches
    vectors = encoder(batch.inputs)
    assert vectors.shape == (1, 32)
    assert encoder.preprocessing["layers"] == [
        {"layer": 0, "columns": 16},
        {"layer": -1, "columns": 16},
    ]
    alone = load(EncoderSpec("audio", str(folders[name]), pooling="max", options={"layers": -1}))
    torch.testing.assert_close(vectors[:, 16:], alone(batch.inputs))


def test_sounds_are_mixed_resampled_and_cut_into_equal_pieces(
    folders: dict[str, Path], sounds: Path
) -> None:
    encoder = load(EncoderSpec("audio", str(folders["wav2vec2"]), options={"piece_seconds": 1}))
    both = prepared_sounds(encoder, sounds, "stereo.flac", "long.ogg")
    pieces = {
        row: [len(values) for batch in both.batches for values in batch.inputs["input_values"]
              if row in batch.rows]
        for row in (0, 1)
    }  # fmt: skip
    assert pieces == {0: [8000], 1: [11_200] * 3}
    samples, _ = soundfile.read(sounds / "stereo.flac", dtype="float32")
    expected = resample_poly(samples.mean(1), 160, 441)
    (batch,) = [one for one in both.batches if one.rows == [0]]
    normed = (expected - expected.mean()) / np.sqrt(expected.var() + 1e-7)
    np.testing.assert_allclose(batch.inputs["input_values"][0], normed, atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_features_do_not_depend_on_the_batch_and_failures_are_masked(
    folders: dict[str, Path], sounds: Path, tmp_path: Path, name: str
) -> None:
    names = ["short.wav", "stereo.flac", "long.ogg", "silent.wav", "broken.mp3", "absent.wav", None]
    inputs = ItemInputs(
        [str(row) for row in range(len(names))], inputs={"audio": names}, roots={"audio": sounds}
    )

    def run(batch_size: int) -> FeatureStore:
        spec = EncoderSpec("audio", str(folders[name]), options={"max_seconds": 1.5})
        config = ExtractionConfig(batch_size=batch_size, progress=False)
        return extract(inputs, spec, tmp_path / str(batch_size), name="sound", config=config)

    store, other = run(1), run(64)
    np.testing.assert_allclose(store.features, other.features, rtol=1e-4, atol=1e-5)
    assert store.present.tolist() == [True] * 3 + [False] * 4
    assert {one["item"]: one["reason"].split(",")[0].split(" (")[0] for one in store.failures} == {
        "3": "silence",
        "4": "not a sound of a known format",
        "5": "file not found",
    }
    counts = store.manifest["counts"]
    assert (counts["failed"], counts["missing"], counts["truncated"]) == (3, 1, 1)
    assert store.manifest["preprocessing"]["rate"] == RATE


def test_pieces_have_one_length_and_lose_nothing() -> None:
    samples = np.arange(1, 24, dtype=np.float32)
    pieces = equal_pieces(samples, 10, 2)
    assert [len(piece) for piece in pieces] == [8, 8, 8]
    np.testing.assert_array_equal(np.concatenate(pieces), [*samples, 0])


def test_silent_pieces_do_not_thin_out_the_others(folders: dict[str, Path], tmp_path: Path) -> None:
    sound = np.zeros(2 * RATE)
    sound[:RATE] = 0.1 * np.random.default_rng(0).normal(size=RATE)
    soundfile.write(tmp_path / "half.wav", sound, RATE)
    encoder = load(EncoderSpec("audio", str(folders["whisper"])))
    (batch,) = prepared_sounds(encoder, tmp_path, "half.wav").batches
    assert batch.rows == [0]


@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        ("wav2vec2", {"pooling": "pooler"}, "mean or max"),
        ("clap", {"layers": 1}, "no layers"),
        ("clap", {"pooling": "mean"}, "expected: pooler"),
        ("whisper", {"piece_seconds": 2}, "at most 1 seconds"),
        ("ast", {"layers": 1, "pooling": "pooler"}, "only the end"),
        ("ast", {"max_seconds": 0}, "0.1 to 3600"),
        ("ast", {"layers": 9}, "no layer 9"),
    ],
)
def test_what_a_family_does_not_have_is_refused(
    folders: dict[str, Path], name: str, options: dict[str, Any], found: str
) -> None:
    with pytest.raises(FeatureError, match=found):
        load(EncoderSpec("audio", str(folders[name]), options=options))


def test_model_of_texts_is_refused(folders: dict[str, Path], bert_folder: Path) -> None:
    with pytest.raises(FeatureError, match=r"no preprocessor_config\.json"):
        load(EncoderSpec("audio", str(bert_folder)))
