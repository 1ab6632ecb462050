import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_extraction import InputError
from feature_extraction.items.input_files import open_files
from feature_extraction.items.sounds import AudioModality, Sound

soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed (extra `audio`)")

RATE = 8000


def tone(seconds: float, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 440 / rate)


def packed(samples: np.ndarray, rate: int = RATE, **options: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV"} | options)
    return file.getvalue()


def decoded(raw: bytes | str, folder: Path | None = None, max_seconds: float = 60) -> Sound:
    files = open_files([folder] if folder else [], "audio")
    sound = AudioModality(max_seconds).read(raw, files)
    assert isinstance(sound, Sound)
    return sound


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_sounds_of_each_format_keep_rate_and_length(format: str) -> None:
    sound = decoded(packed(tone(1, 16_000), 16_000, format=format))
    assert sound.rate == 16_000
    assert not sound.is_cut
    assert sound.samples.dtype == np.float32
    assert abs(len(sound.samples) - 16_000) < 2_000  # what a codec adds
    assert np.abs(sound.samples).max() == pytest.approx(0.5, abs=0.1)


def test_channels_are_averaged() -> None:
    stereo = np.stack([tone(0.5), np.zeros(RATE // 2)], axis=1)
    np.testing.assert_allclose(decoded(packed(stereo)).samples, tone(0.5) / 2, atol=1e-4)


def test_no_more_is_decoded_than_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feature_extraction.items.sounds._BLOCK", 1000)
    sound = decoded(packed(tone(3)), max_seconds=1)
    assert sound.is_cut
    np.testing.assert_allclose(sound.samples, tone(1), atol=1e-4)
    assert not decoded(packed(tone(1)), max_seconds=1).is_cut


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty file"),
        (b"no sound at all", "not a sound"),
        (packed(tone(1))[:40], "not a sound|no samples"),
        (packed(np.zeros(0)), "no samples"),
        (packed(np.zeros(RATE)), "silence"),
        (packed(np.stack([tone(1), -tone(1)], axis=1)), "cancel each other"),
        (packed(np.full(RATE, np.nan), subtype="FLOAT"), "not finite"),
        (packed(tone(1, 500), 500), "500 samples a second"),
        (packed(tone(1), format="VOC"), "VOC file"),
        ("absent.wav", "file not found"),
    ],
)
def test_what_gives_no_features_has_its_reason(tmp_path: Path, raw: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        decoded(raw, tmp_path)


def test_large_files_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.wav").write_bytes(packed(tone(1)))
    monkeypatch.setattr(AudioModality, "max_bytes", 1000)
    with pytest.raises(InputError, match="more than 1,000 bytes"):
        decoded("a.wav", tmp_path)
