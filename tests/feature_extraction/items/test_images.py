import os
import struct
import sys
import types
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feature_extraction import InputError
from feature_extraction.items.images import ASPECT_LIMIT, ImageModality, decode_image
from feature_extraction.items.input_files import locate_file, open_files

RED = (255, 0, 0)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def pixel(image: Image.Image, x: int = 0, y: int = 0) -> tuple[int, ...]:
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)
    return value


def test_grey_is_spread_to_three_channels(tmp_path: Path) -> None:
    image = decode_image(saved(Image.new("L", (4, 3), 77), tmp_path / "a.png"))
    assert (image.mode, image.size, pixel(image)) == ("RGB", (4, 3), (77, 77, 77))


def test_grey_with_alpha_is_laid_on_white(tmp_path: Path) -> None:
    image = decode_image(saved(Image.new("LA", (4, 3), (0, 0)), tmp_path / "a.png"))
    assert (image.mode, pixel(image)) == ("RGB", (255, 255, 255))


@pytest.mark.parametrize(("alpha", "expected"), [(0, 255), (255, 10), (51, 206)])
def test_alpha_is_composited_on_white(tmp_path: Path, alpha: int, expected: int) -> None:
    source = Image.new("RGBA", (4, 3), (10, 10, 10, alpha))
    image = decode_image(saved(source, tmp_path / "a.png"))
    assert image.mode == "RGB"
    assert pixel(image) == pytest.approx((expected,) * 3, abs=1)


def test_palette_colours_are_looked_up(tmp_path: Path) -> None:
    source = Image.new("P", (4, 3), 1)
    source.putpalette([0, 0, 0, *RED])
    assert pixel(decode_image(saved(source, tmp_path / "a.png"))) == RED


def test_transparent_palette_entry_becomes_white(tmp_path: Path) -> None:
    source = Image.new("P", (4, 3), 1)
    source.putpalette([0, 0, 0, *RED])
    image = decode_image(saved(source, tmp_path / "a.png", transparency=1))
    assert pixel(image) == (255, 255, 255)


def test_cmyk_is_converted(tmp_path: Path) -> None:
    source = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    image = decode_image(saved(source, tmp_path / "a.jpg"))
    assert image.mode == "RGB"
    assert pixel(image) == pytest.approx(RED, abs=3)


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_sixteen_bit_grey_is_scaled_instead_of_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    image = decode_image(saved(Image.fromarray(values), tmp_path / f"a.{suffix}"))
    assert np.asarray(image)[0].tolist() == [[0] * 3, [1] * 3, [128] * 3, [255] * 3]


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = saved(Image.new("F", (4, 3), 0.5), tmp_path / "a.tiff")
    with pytest.raises(InputError, match="floating-point"):
        decode_image(path)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    source = Image.new("RGB", (20, 10))
    source.paste(RED, (0, 0, 10, 10))  # red left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: red comes to the top
    image = decode_image(saved(source, tmp_path / "a.png", exif=exif))
    assert image.size == (10, 20)
    assert pixel(image, 5, 2) == RED
    assert pixel(image, 5, 17) == (0, 0, 0)


def test_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), (0, 0, 255))]
    path = saved(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with Image.open(path) as animation:
        assert animation.n_frames == 2
    assert pixel(decode_image(path)) == RED


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(b"")
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk
        + struct.pack(">I", len(data) - 4)
        + data
        + struct.pack(">I", zlib.crc32(data))
    )


@pytest.mark.filterwarnings("error")  # the warning that Pillow gives from 90 megapixels on
@pytest.mark.parametrize("side", [8_001, 10_000, 60_000])
def test_decompression_bomb_is_refused_before_decoding(tmp_path: Path, side: int) -> None:
    before = Image.MAX_IMAGE_PIXELS
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(side, side))
    with pytest.raises(InputError, match="more than 64000000 pixels"):
        decode_image(path)
    assert before == Image.MAX_IMAGE_PIXELS


def test_pixel_limit_is_inclusive(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (10, 10)), tmp_path / "a.png")
    assert decode_image(path, pixel_limit=100).size == (10, 10)
    with pytest.raises(InputError, match="10 x 10 is more than 99 pixels"):
        decode_image(path, pixel_limit=99)


def test_sides_that_scaling_would_blow_up_are_refused(tmp_path: Path) -> None:
    fits = saved(Image.new("RGB", (ASPECT_LIMIT, 1)), tmp_path / "a.png")
    assert decode_image(fits).size == (ASPECT_LIMIT, 1)
    path = saved(Image.new("RGB", (1, ASPECT_LIMIT + 1)), tmp_path / "b.png")
    with pytest.raises(InputError, match="sides"):
        decode_image(path)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_every_truncation_is_a_failure_with_a_reason(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in ("png", "jpg", "gif", "bmp", "webp", "tiff"):
        whole = saved(Image.fromarray(pixels), tmp_path / f"whole.{suffix}").read_bytes()
        part = tmp_path / f"part.{suffix}"
        for share in (0.01, 0.1, 0.5, 0.9):
            part.write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(InputError, match=r"cannot be decoded|not an image"):
                decode_image(part)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"GIF89a", "."), (b"no image at all", "not an image")]
)
def test_file_that_is_no_image_has_a_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        decode_image(path)


def test_missing_file_folder_and_pipe_have_a_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "absent.png", tmp_path, tmp_path / "pipe"):
        with pytest.raises(InputError, match="file not found"):
            decode_image(path)


def test_formats_that_run_other_programs_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(InputError, match="known format"):
        decode_image(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("http://example.org/a.png", "a web address: nothing is downloaded"),
        ("HTTPS://example.org/a.png", "a web address"),
        ("s3://bucket/a.png", "a web address"),
        ("file:///a.png", "a file:// address"),
        ("sub\\\\x.png", "backslashes"),
        ("C:\\\\pictures\\\\x.png", "backslashes"),
    ],
)
def test_name_that_is_no_path_below_the_folder_has_its_reason(
    tmp_path: Path, name: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        locate_file(name, tmp_path)


def test_file_with_a_backslash_in_its_name_is_found(tmp_path: Path) -> None:
    file = saved(Image.new("RGB", (4, 3), RED), tmp_path / "a\\b.png")
    assert locate_file("a\\b.png", tmp_path) == file


def test_web_address_is_not_looked_for_in_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", b"")
    files = open_files([tmp_path / "a.zip"], "image")
    with pytest.raises(InputError, match="a web address"):
        files.find("https://example.org/a.png")


@pytest.mark.parametrize("suffix", ["avif", "mpo"])
def test_avif_and_pictures_of_several_views_are_read(tmp_path: Path, suffix: str) -> None:
    views = [Image.new("RGB", (16, 8), RED), Image.new("RGB", (16, 8), (0, 0, 255))]
    more = {"save_all": True, "append_images": views[1:]} if suffix == "mpo" else {}
    image = decode_image(saved(views[0], tmp_path / f"a.{suffix}", **more))
    assert (image.mode, image.size) == ("RGB", (16, 8))
    assert pixel(image) == pytest.approx(RED, abs=8)


def test_sixteen_bit_colours_are_scaled(tmp_path: Path) -> None:
    rows = b"\0" + struct.pack(">6H", 65535, 0, 128 * 257, 257, 65535, 0)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    image = decode_image(content)
    assert [pixel(image, x) for x in (0, 1)] == [(255, 0, 128), (1, 255, 0)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), "a HEIC image"),
        (b'<?xml version="1.0"?><svg xmlns="x"/>', "an SVG drawing, not an image"),
        (b"%PDF-1.7", "a PDF document, not an image"),
        (b"<!DOCTYPE html><html>", "a web page, not an image"),
        (b"\0\0\1\0" + bytes(40), "an ICO icon, not an image"),
        (b"what", r"^not an image of a known format \(BMP, GIF, JPEG, PNG, .*AVIF"),
    ],
)
def test_other_format_is_named_with_those_that_are_read(
    monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # not installed
    with pytest.raises(InputError, match=reason):
        decode_image(content)


def test_heic_is_extracted_anew_where_it_can_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    heic, jpeg = tmp_path / "a.heic", tmp_path / "a.jpg"
    heic.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    saved(Image.new("RGB", (4, 3)), jpeg)
    modality, files = ImageModality(), open_files([tmp_path], "image")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    before = [modality.fingerprint(file.name, files) for file in (heic, jpeg)]
    opener = types.SimpleNamespace(register_heif_opener=lambda: None)
    monkeypatch.setitem(sys.modules, "pillow_heif", opener)
    after = [modality.fingerprint(file.name, files) for file in (heic, jpeg)]
    assert before[0] != after[0]
    assert before[1] == after[1]


@pytest.mark.parametrize("name", ["../secret.png", "a/../../secret.png", "/etc/hosts"])
def test_path_out_of_the_image_folder_is_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "images"
    (root / "a").mkdir(parents=True)
    saved(Image.new("RGB", (4, 4)), tmp_path / "secret.png")
    with pytest.raises(InputError, match="outside the image folder"):
        locate_file(name, root)


def test_absolute_and_climbing_paths_are_refused_even_inside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    file = saved(Image.new("RGB", (4, 4)), tmp_path / "b.png")
    assert locate_file("b.png", tmp_path) == file
    with pytest.raises(InputError, match=r"an absolute path: .*\(write b.png\)"):
        locate_file(file, tmp_path)
    with pytest.raises(InputError, match="outside the image folder"):
        locate_file("a/../b.png", tmp_path)


def test_link_out_of_the_image_folder_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "images"
    root.mkdir()
    outside = saved(Image.new("RGB", (4, 4)), tmp_path / "secret.png")
    (root / "file.png").symlink_to(outside)
    (root / "folder").symlink_to(tmp_path)
    for name in ("file.png", "folder/secret.png"):
        with pytest.raises(InputError, match="outside the image folder"):
            locate_file(name, root)


def test_link_inside_a_linked_image_folder_is_followed(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "images").symlink_to(real)
    (real / "alias.png").symlink_to(saved(Image.new("RGB", (4, 4)), real / "a.png"))
    assert decode_image(locate_file("alias.png", tmp_path / "images")).size == (4, 4)


@pytest.mark.parametrize("name", ["null\0byte.png", "loop.png"])
def test_unusable_file_name_has_a_reason(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(InputError):
        decode_image(locate_file(name, tmp_path))
