"""What a downloaded file is, by its content: whatever its name and its server say."""

import io
from typing import Literal

from PIL import Image, UnidentifiedImageError

from feature_extraction.errors import InputError
from feature_extraction.items.images import readable_formats

Kind = Literal["image", "audio"]

_IMAGES = {
    "AVIF": ".avif",
    "BMP": ".bmp",
    "GIF": ".gif",
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
}
_SOUNDS = {
    "AIFF": ".aiff",
    "AU": ".au",
    "FLAC": ".flac",
    "MP3": ".mp3",
    "OGG": ".ogg",
    "WAV": ".wav",
    "WAVEX": ".wav",
}


def looks_like_a_page(head: bytes) -> bool:
    """Whether a file begins as a web page does."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html"))


def suffix_of(content: bytes, kind: Kind, declared: str) -> str:
    """Return the suffix that a file should have.

    Args:
        content: The whole file.
        kind: What it is to be.
        declared: What its server says that it is, for the error.

    Raises:
        InputError: It is something else.
    """
    if looks_like_a_page(content[:512]):
        raise InputError(f"a web page, declared as {declared or 'nothing'}")
    suffix = _picture(content) if kind == "image" else _sound(content)
    if suffix is None:
        raise InputError(f"no {kind} of a known format, declared as {declared or 'nothing'}")
    return suffix


def _picture(content: bytes) -> str | None:
    try:
        with Image.open(io.BytesIO(content), formats=readable_formats(content)) as image:
            return _IMAGES.get(image.format or "")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError("a picture of too many pixels") from error


def _sound(content: bytes) -> str | None:
    import soundfile  # optional; the command has seen that it is there

    try:
        return _SOUNDS.get(soundfile.info(io.BytesIO(content)).format)
    except soundfile.LibsndfileError:
        return None
