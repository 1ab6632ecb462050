"""Product pictures of the demo catalogue, drawn from a palette, a shape and a pattern."""

import io
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from slifmr_pl.errors import ConfigError

Colour = tuple[int, int, int]

# Main and accent colour. The last palette has no hue, so that its pictures can be stored as grey.
PALETTES: tuple[tuple[Colour, Colour], ...] = (
    ((205, 35, 40), (250, 190, 180)),
    ((240, 130, 20), (255, 225, 160)),
    ((235, 210, 40), (130, 105, 10)),
    ((40, 150, 60), (190, 235, 170)),
    ((20, 160, 165), (195, 250, 245)),
    ((35, 70, 190), (170, 200, 255)),
    ((130, 45, 165), (225, 185, 245)),
    ((240, 90, 165), (110, 15, 60)),
    ((70, 70, 70), (200, 200, 200)),
)
GREY_PALETTE = len(PALETTES) - 1

_SHIRT = (
    *(0.32, 0.06, 0.68, 0.06, 0.98, 0.30, 0.86, 0.48, 0.72, 0.40, 0.72, 0.94),
    *(0.28, 0.94, 0.28, 0.40, 0.14, 0.48, 0.02, 0.30),
)
_DRESS = (0.38, 0.04, 0.62, 0.04, 0.60, 0.36, 0.94, 0.96, 0.06, 0.96, 0.40, 0.36)
# Silhouettes in the unit square: (primitive of ImageDraw, coordinates, line width or 0 for filled).
SHAPES: dict[str, tuple[tuple[str, tuple[float, ...], float], ...]] = {
    "mug": (
        ("rectangle", (0.18, 0.42, 0.66, 0.94), 0),
        ("ellipse", (0.54, 0.52, 0.92, 0.84), 0.08),
    ),
    "lamp": (
        ("polygon", (0.30, 0.04, 0.70, 0.04, 0.90, 0.46, 0.10, 0.46), 0),
        ("rectangle", (0.46, 0.46, 0.54, 0.88), 0),
        ("ellipse", (0.30, 0.84, 0.70, 0.96), 0),
    ),
    "chair": (
        ("rectangle", (0.10, 0.04, 0.26, 0.96), 0),
        ("rectangle", (0.10, 0.52, 0.86, 0.68), 0),
        ("rectangle", (0.74, 0.52, 0.86, 0.96), 0),
    ),
    "shirt": (("polygon", _SHIRT, 0),),
    "dress": (("polygon", _DRESS, 0),),
    "ball": (("ellipse", (0.06, 0.06, 0.94, 0.94), 0),),
}
PATTERNS = ("plain", "stripes", "checks", "dots")
VISUAL_SIZES = {"palette": len(PALETTES), "shape": len(SHAPES), "pattern": len(PATTERNS)}

_SUPERSAMPLING = 2  # drawn larger and shrunk: ImageDraw itself does not smooth edges
_PATTERN_CELLS = 8  # stripes, checks and dots across the picture


def draw_picture(
    codes: tuple[int, int, int], *, side: int, mode: str, rng: np.random.Generator
) -> Image.Image:
    """Draw one product on a pale ground.

    Args:
        codes: Indices of palette, shape and pattern.
        side: Width of the picture in pixels; the height is the same or a quarter more.
        mode: Pillow mode of the result. ``RGBA`` has a transparent ground whose hidden colour is
            white, so that dropping the alpha channel or compositing on white give one picture.
        rng: Draws the height, the place and the scale of the product and the tint of the ground.

    Returns:
        A picture of mode ``mode``.

    Raises:
        ConfigError: If ``mode`` is none of RGB, RGBA, L and P.
    """
    if mode not in {"RGB", "RGBA", "L", "P"}:
        raise ConfigError(
            f"picture mode {mode!r}", expected="RGB, RGBA, L or P", fix="pass one of these modes"
        )
    palette, shape, pattern = codes
    size = (side, side + int(rng.choice([0, side // 4])))
    canvas = (size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING)
    scale = canvas[0] * rng.uniform(0.88, 1.0)
    shift = rng.uniform(0, 1, size=2) * (canvas[0] - scale)
    origin = (float(shift[0]), float(shift[1]) + (canvas[1] - canvas[0]) / 2)

    main, accent = PALETTES[palette]
    mask = _silhouette(list(SHAPES.values())[shape], canvas, origin, scale)
    inside = Image.new("RGB", canvas, main)
    inside.paste(accent, mask=_pattern_mask(PATTERNS[pattern], canvas))
    ground = Image.new("RGB", canvas, (int(rng.integers(244, 256)),) * 3)
    picture = Image.composite(inside, ground, mask).resize(size, Image.Resampling.BOX)

    if mode == "RGBA":
        alpha = mask.resize(size, Image.Resampling.BOX).point(lambda value: 255 * (value > 127))
        white = Image.new("RGB", size, (255, 255, 255))
        picture = Image.composite(picture, white, alpha)
        picture.putalpha(alpha)
        return picture
    if mode == "P":
        return picture.quantize(colors=32)
    return picture.convert(mode)


def encode_picture(picture: Image.Image, suffix: str) -> bytes:
    """Encode a picture as the bytes of a ``.png`` or ``.jpg`` file."""
    options: dict[str, Any] = {"quality": 90} if suffix == ".jpg" else {"optimize": True}
    stream = io.BytesIO()
    picture.save(stream, format="JPEG" if suffix == ".jpg" else "PNG", **options)
    return stream.getvalue()


def _silhouette(
    primitives: tuple[tuple[str, tuple[float, ...], float], ...],
    canvas: tuple[int, int],
    origin: tuple[float, float],
    scale: float,
) -> Image.Image:
    mask = Image.new("L", canvas, 0)
    draw = ImageDraw.Draw(mask)
    for kind, coordinates, width in primitives:
        points = [origin[axis % 2] + scale * value for axis, value in enumerate(coordinates)]
        if kind == "polygon":
            draw.polygon(points, fill=255)
        elif kind == "rectangle":
            draw.rectangle(points, fill=255)
        elif width:
            draw.ellipse(points, outline=255, width=max(1, round(scale * width)))
        else:
            draw.ellipse(points, fill=255)
    return mask


def _pattern_mask(pattern: str, canvas: tuple[int, int]) -> Image.Image:
    """Where the accent colour goes; the period is a share of the width, so sizes look alike."""
    period = canvas[0] / _PATTERN_CELLS
    mask = Image.new("L", canvas, 0)
    draw = ImageDraw.Draw(mask)
    rows = int(canvas[1] / period) + 1
    if pattern in {"stripes", "checks"}:
        for row in range(rows):
            draw.rectangle((0, row * period, canvas[0], (row + 0.5) * period), fill=255)
    if pattern == "checks":
        columns = Image.new("L", canvas, 0)
        draw_columns = ImageDraw.Draw(columns)
        for column in range(_PATTERN_CELLS):
            left = column * period
            draw_columns.rectangle((left, 0, left + period / 2, canvas[1]), fill=255)
        mask = ImageChops.difference(mask, columns)
    if pattern == "dots":
        for row in range(rows):
            for column in range(_PATTERN_CELLS):
                left, top = column * period, row * period
                draw.ellipse((left, top, left + 0.6 * period, top + 0.6 * period), fill=255)
    return mask
