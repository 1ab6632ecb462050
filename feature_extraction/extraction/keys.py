"""The key that says when features can be reused: a hash of everything that they depend on."""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from feature_extraction.encoders.identity import EncoderIdentity, identify
from feature_extraction.encoders.spec import KINDS, EncoderSpec
from feature_extraction.errors import FeatureError
from feature_extraction.hashing import file_sha256
from feature_extraction.items.images import ASPECT_LIMIT, PIXEL_LIMIT, ImageError
from feature_extraction.items.inputs import Item, ItemSource
from feature_extraction.items.pictures import Picture, Pictures
from feature_extraction.stores.store import FORMAT_VERSION

_WINDOW = 1024  # items whose pictures are hashed at the same time


class Keyed(NamedTuple):
    """Ids of all items in order, and the content key of their features."""

    ids: list[str]
    key: str


def content_key(inputs: ItemSource, spec: EncoderSpec) -> str:
    """Return the key of the features that ``spec`` gives for ``inputs``.

    A SHA-256 over the format version, ids, the cleaned texts or the bytes of the image files, the
    model files (hashes of a local folder, resolved commit of a hub id), preprocessing, pooling,
    precision and dtype. Batch size, devices and the place of the files are not part of it.

    Returns:
        64 hex digits.

    Raises:
        FeatureError: The encoder cannot be found, or the inputs hold nothing of its kind.
    """
    return key_of(inputs, spec, identify(spec)).key


def key_of(inputs: ItemSource, spec: EncoderSpec, identity: EncoderIdentity) -> Keyed:
    """Pass over all items once; returns their ids and ``content_key``."""
    encoder = {
        "kind": spec.kind,
        "files": identity.files if identity.is_local else [spec.name, identity.commit],
        "pooling": spec.pools_by,
        "max_length": spec.max_length,
        "long_texts": spec.long_texts,
        "precision": spec.precision,
        "dtype": spec.dtype,
        "image_limits": [PIXEL_LIMIT, ASPECT_LIMIT],
    }
    factory = KINDS[spec.kind].factory
    if factory is not None:
        encoder["code"] = _source(factory)
    digest = hashlib.sha256(_line(["slifmr features", FORMAT_VERSION, encoder]))
    ids: list[str] = []
    found = False
    items = iter(inputs)
    with ThreadPoolExecutor() as pool:
        mark = partial(_picture_marker, inputs.pictures)
        while window := list(islice(items, _WINDOW)):
            if spec.reads == "text":
                markers: Iterable[Any] = [item.text for item in window]
            else:
                markers = _picture_markers(window, pool.map(mark, _all_pictures(window)))
            for item, marker in zip(window, markers, strict=True):
                digest.update(_line([item.id, marker]))
                found = found or bool(marker)
                ids.append(item.id)
    if not found:
        _refuse_empty(len(ids), spec)
    return Keyed(ids, digest.hexdigest())


def _source(factory: Callable[..., Any]) -> str:
    """Return the source of a registered kind; its name where the source cannot be had."""
    try:
        return inspect.getsource(factory)
    except (OSError, TypeError):
        return repr(getattr(factory, "__qualname__", factory))


def _all_pictures(items: Iterable[Item]) -> list[Picture]:
    return [picture for item in items for picture in item.pictures]


def _picture_markers(items: Iterable[Item], hashes: Iterable[str]) -> list[list[str] | None]:
    rest = iter(hashes)
    return [list(islice(rest, len(item.pictures))) or None for item in items]


def _picture_marker(pictures: Pictures, picture: Picture) -> str:
    try:
        file = pictures.find(picture)
        if isinstance(file, bytes):
            return f"sha256:{hashlib.sha256(file).hexdigest()}"
        return f"sha256:{file_sha256(Path(file))}" if file.is_file() else "missing file"
    except ImageError as error:
        return str(error)
    except (OSError, ValueError):
        return "unreadable file"


def _line(value: Any) -> bytes:
    # JSON escapes line breaks, so that two different sequences never give the same bytes.
    return json.dumps(value).encode() + b"\n"


def _refuse_empty(count: int, spec: EncoderSpec) -> None:
    what = f"{spec.reads}s"
    raise FeatureError(
        f"none of the {count} items has {what}",
        expected=f"{what} of at least one item for a {spec.kind} encoder",
        fix=f"check where the {what} come from, or use another kind of encoder",
    )
