"""Images: untrusted files decoded to RGB within bounds; every failure has a reason."""

import io
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from feature_extraction.errors import InputError
from feature_extraction.items.input_files import Files
from feature_extraction.items.raw_modality import FileModality

PIXEL_LIMIT = 64_000_000
"""Images with more pixels are refused before they are decoded."""

ASPECT_LIMIT = 100
"""Images with longer sides are refused: scaling their short side up would need gigabytes."""

# Only pure raster formats: others of Pillow start programs (EPS) or read other files.
# A picture of several views (MPO) is a JPEG file with more behind its first one.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_AVIF = ("avif", "avis")  # brands of the file type, as of what follows
_HEIC = ("heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1")
_HEAD = 512  # bytes that tell what a file is

# What files that are no pictures, or pictures of another kind, begin with.
_OTHER_KINDS = (
    (b"%PDF", "a PDF document"),
    (b"\0\0\1\0", "an ICO icon"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"%!PS", "a PostScript file"),
    (b"PK\3\4", "a zip archive"),
)


class ImageModality(FileModality):
    """Pictures: raster files, decoded to upright 8-bit RGB."""

    name = "image"
    suffixes = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif")

    def read(self, raw: Any, files: Files) -> Image.Image:
        """Decode a picture, see ``decode_image``, which bounds pixels before it reads them."""
        return decode_image(files.find(raw))

    def fingerprint(self, raw: Any, files: Files) -> str:
        """The SHA-256 of the file; of one that not every installation reads, whether this does."""
        content = super().fingerprint(raw, files)
        if not content.startswith("sha256:"):
            return content
        brand = _brand(_head(files.find(raw)))
        return f"{content} {_read_formats(brand)[-1]}" if brand in _AVIF + _HEIC else content

    def decode(self, raw: BinaryIO) -> Image.Image:
        """Decode an opened file."""
        return decode_image(raw.read())


def decode_image(file: Path | bytes, *, pixel_limit: int = PIXEL_LIMIT) -> Image.Image:
    """Decode the first frame of an image file as upright 8-bit RGB.

    EXIF orientation is applied, transparency is laid on white, 16-bit grey is scaled to 8 bits.

    Args:
        file: BMP, GIF, JPEG (MPO too), PNG, PPM, TIFF, WebP or AVIF file or its bytes, known by
            its content; HEIC with the extra ``heic``.
        pixel_limit: Largest width times height that is decoded.

    Returns:
        An image in mode ``RGB`` that holds no open file.

    Raises:
        InputError: The file is missing, empty, damaged, too large or no image.
    """
    formats: tuple[str, ...] = _FORMATS
    try:
        if isinstance(file, Path) and not file.is_file():  # keeps pipes from blocking, too
            raise InputError("file not found")
        if (file.stat().st_size if isinstance(file, Path) else len(file)) == 0:
            raise InputError("the file is empty")
        source = file if isinstance(file, Path) else io.BytesIO(file)
        formats = readable_formats(file)
        with Image.open(source, formats=formats) as image:
            _check_size(image.size, pixel_limit)
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(_unknown(_head(file), formats)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"more than {pixel_limit} pixels") from error
    except Exception as error:  # decoders raise anything from SyntaxError to struct.error
        raise InputError(f"cannot be decoded ({type(error).__name__}: {error})") from error


def readable_formats(content: Path | bytes) -> tuple[str, ...]:
    """Formats of Pillow that a file may be opened as; the others may do more than decode."""
    return _read_formats(_brand(_head(content)))


def _head(file: Path | bytes) -> bytes:
    if isinstance(file, bytes):
        return file[:_HEAD]
    with file.open("rb") as opened:
        return opened.read(_HEAD)


def _brand(head: bytes) -> str:
    """What AVIF and HEIC files say that they are; empty for others."""
    if head[4:8] != b"ftyp":
        return ""
    brands = head[8 : int.from_bytes(head[:4], "big")]
    general = brands.startswith((b"mif1", b"msf1"))  # what it is stands behind that
    return "avif" if general and b"avif" in brands else brands[:4].decode("latin-1")


def _read_formats(brand: str) -> tuple[str, ...]:
    """Formats that Pillow may take a file for, in this installation."""
    if brand in _AVIF and features.check("avif"):
        return (*_FORMATS, "AVIF")
    if brand in _HEIC:
        try:
            import_module("pillow_heif").register_heif_opener()
        except ImportError:
            return _FORMATS
        return (*_FORMATS, "HEIF")
    return _FORMATS


def _unknown(head: bytes, formats: tuple[str, ...]) -> str:
    """Why a file is not read: what it is, and what is read."""
    brand, text = _brand(head), head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    kind = next((kind for start, kind in _OTHER_KINDS if head.startswith(start)), "")
    if brand in _HEIC and formats == _FORMATS:
        return "a HEIC image (pip install 'slifmr-pl[heic]' reads it, or convert it to JPEG)"
    if brand in _AVIF and formats == _FORMATS:
        return "an AVIF image (Pillow reads it from 11.3 on; or convert it to JPEG)"
    if b"<svg" in text:
        kind = "an SVG drawing"
    elif text.startswith((b"<!doctype", b"<html")):
        kind = "a web page"
    return (f"{kind}, " if kind else "") + (
        "not an image of a known format (BMP, GIF, JPEG, PNG, PPM, TIFF, WebP, AVIF, and HEIC "
        "with the extra heic)"
    )


def _check_size(size: tuple[int, int], pixel_limit: int) -> None:
    short, long = sorted(size)
    if short * long > pixel_limit:
        raise InputError(f"{size[0]} x {size[1]} is more than {pixel_limit} pixels")
    if long > ASPECT_LIMIT * short:
        raise InputError(f"{size[0]} x {size[1]} has sides of more than {ASPECT_LIMIT}:1")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise InputError("floating-point pixels have no fixed range")
    if image.mode.startswith("I"):
        # Pillow's own conversion clips at 255 instead of scaling.
        grey = np.asarray(image).astype(np.int32).clip(0, 65535)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
