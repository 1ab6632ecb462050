"""Images: untrusted files decoded to RGB within bounds; every failure has a reason."""

import io
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from feature_extraction.errors import InputError
from feature_extraction.items.input_files import Files
from feature_extraction.items.raw_modality import FileModality

PIXEL_LIMIT = 64_000_000
"""Images with more pixels are refused before they are decoded."""

ASPECT_LIMIT = 100
"""Images with longer sides are refused: scaling their short side up would need gigabytes."""

# Only pure raster formats: others of Pillow start programs (EPS) or read other files.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


class ImageModality(FileModality):
    """Pictures: raster files, decoded to upright 8-bit RGB."""

    name = "image"
    suffixes = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")

    def read(self, raw: Any, files: Files) -> Image.Image:
        """Decode a picture, see ``decode_image``, which bounds pixels before it reads them."""
        return decode_image(files.find(raw))

    def decode(self, raw: BinaryIO) -> Image.Image:
        """Decode an opened file."""
        return decode_image(raw.read())


def decode_image(file: Path | bytes, *, pixel_limit: int = PIXEL_LIMIT) -> Image.Image:
    """Decode the first frame of an image file as upright 8-bit RGB.

    EXIF orientation is applied, transparency is laid on white, 16-bit grey is scaled to 8 bits.

    Args:
        file: BMP, GIF, JPEG, PNG, PPM, TIFF or WebP file or its bytes, known by its content.
        pixel_limit: Largest width times height that is decoded.

    Returns:
        An image in mode ``RGB`` that holds no open file.

    Raises:
        InputError: The file is missing, empty, damaged, too large or no image.
    """
    try:
        if isinstance(file, Path) and not file.is_file():  # keeps pipes from blocking, too
            raise InputError("file not found")
        if (file.stat().st_size if isinstance(file, Path) else len(file)) == 0:
            raise InputError("the file is empty")
        source = file if isinstance(file, Path) else io.BytesIO(file)
        with Image.open(source, formats=_FORMATS) as image:
            _check_size(image.size, pixel_limit)
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError("not an image of a known format") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"more than {pixel_limit} pixels") from error
    except Exception as error:  # decoders raise anything from SyntaxError to struct.error
        raise InputError(f"cannot be decoded ({type(error).__name__}: {error})") from error


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
