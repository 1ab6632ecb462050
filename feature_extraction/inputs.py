"""The items to extract features of, and the key that says when features can be reused."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_extraction.errors import FeatureError
from feature_extraction.hashing import file_sha256
from feature_extraction.images import ASPECT_LIMIT, PIXEL_LIMIT, ImageError, locate_image
from feature_extraction.spec import EncoderIdentity, EncoderSpec, identify
from feature_extraction.store import FORMAT_VERSION


@dataclass(frozen=True)
class ItemInputs:
    """Raw inputs of n items.

    Args:
        ids: n distinct item ids.
        texts: One text per item; None, empty or only whitespace means that the item has none.
        images: One image file per item, relative to ``image_root``; None or an empty name means
            that the item has none.
        image_root: Folder that no image may lie outside of. None takes any path as it is: only
            for paths that do not come from user data.

    Raises:
        FeatureError: Ids are empty, repeated or no strings; lengths differ; a text is no valid
            Unicode string; the image folder does not exist.
    """

    ids: Sequence[str]
    texts: Sequence[str | None] | None = None
    images: Sequence[Path | str | None] | None = None
    image_root: Path | None = None

    def __post_init__(self) -> None:
        self._check_ids()
        for what, values in (("texts", self.texts), ("images", self.images)):
            if values is not None and len(values) != len(self.ids):
                raise FeatureError(
                    f"{len(values)} {what} for {len(self.ids)} items",
                    expected=f"one entry of {what} per item, None where there is none",
                    fix=f"align {what} with ids",
                )
        for item, text in zip(self.ids, self.texts or (), strict=False):
            if not _is_text(text):
                raise FeatureError(
                    f"the text of item {item!r} is {text!r}",
                    expected="a string of valid Unicode, or None",
                    fix="convert the texts first; missing values become None",
                )
        if self.image_root is not None and not Path(self.image_root).is_dir():
            raise FeatureError(
                "the image folder does not exist",
                expected="a folder of image files",
                fix="check the path",
                path=self.image_root,
            )

    def present_texts(self) -> dict[int, str]:
        """Return the texts of the items that have one, by row."""
        texts = enumerate(self.texts or ())
        return {row: text for row, text in texts if text is not None and text.strip()}

    def present_images(self) -> dict[int, Path | str]:
        """Return the image files of the items that name one, by row."""
        images = enumerate(self.images or ())
        return {row: image for row, image in images if image is not None and str(image).strip()}

    def _check_ids(self) -> None:
        bad = [item for item in self.ids if not isinstance(item, str) or not item]
        twice = [item for item, count in Counter(self.ids).items() if count > 1]
        if bad or twice or not self.ids:
            found = f"the item id {bad[0]!r}" if bad else "no items"
            raise FeatureError(
                f"the item id {twice[0]!r} more than once" if twice and not bad else found,
                expected="distinct, non-empty strings as item ids",
                fix="mend the ids; each item has exactly one row",
            )


def content_key(inputs: ItemInputs, spec: EncoderSpec) -> str:
    """Return the key of the features that ``spec`` gives for ``inputs``.

    A SHA-256 over the format version, ids, the texts or the bytes of the image files, the model
    files (hashes of a local folder, resolved commit of a hub id), preprocessing, pooling and
    dtype. Batch size, device and the place of the files are not part of it.

    Returns:
        64 hex digits.

    Raises:
        FeatureError: The encoder cannot be found, or the inputs hold nothing of its kind.
    """
    return key_of(inputs, spec, identify(spec))


def key_of(inputs: ItemInputs, spec: EncoderSpec, identity: EncoderIdentity) -> str:
    """Return ``content_key`` for an encoder that is already identified."""
    encoder = {
        "kind": spec.kind,
        "files": identity.files if identity.is_local else [spec.name, identity.commit],
        "pooling": spec.pooling,
        "max_length": spec.max_length,
        "dtype": spec.dtype,
        "image_limits": [PIXEL_LIMIT, ASPECT_LIMIT],
    }
    digest = hashlib.sha256(_line(["slifmr features", FORMAT_VERSION, encoder]))
    for item, marker in zip(inputs.ids, _markers(inputs, spec), strict=True):
        digest.update(_line([item, marker]))
    return digest.hexdigest()


def _require_content(inputs: ItemInputs, spec: EncoderSpec) -> None:
    images = spec.kind == "clip-image"
    if not (inputs.present_images() if images else inputs.present_texts()):
        what = "images" if images else "texts"
        raise FeatureError(
            f"none of the {len(inputs.ids)} items has {what}",
            expected=f"{what} of at least one item for a {spec.kind} encoder",
            fix=f"check where the {what} come from, or use another kind of encoder",
        )


def _line(value: Any) -> bytes:
    # JSON escapes line breaks, so that two different sequences never give the same bytes.
    return json.dumps(value).encode() + b"\n"


def _markers(inputs: ItemInputs, spec: EncoderSpec) -> list[str | None]:
    """Return what identifies the input of each item; None where there is none."""
    _require_content(inputs, spec)
    markers: list[str | None] = [None] * len(inputs.ids)
    if spec.kind != "clip-image":
        for row, text in inputs.present_texts().items():
            markers[row] = text
        return markers
    images = inputs.present_images()
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda image: _image_marker(image, inputs.image_root), images.values())
        for row, marker in zip(images, found, strict=True):
            markers[row] = marker
    return markers


def _image_marker(image: Path | str, root: Path | None) -> str:
    try:
        path = locate_image(image, root)
        return f"sha256:{file_sha256(path)}" if path.is_file() else "missing file"
    except ImageError as error:
        return str(error)
    except (OSError, ValueError):
        return "unreadable file"


def _is_text(text: object) -> bool:
    if text is None:
        return True
    if not isinstance(text, str):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which no tokenizer takes
        return False
    return True
