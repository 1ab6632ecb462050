"""The key that says when features can be reused: a hash of everything that they depend on."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

from feature_extraction.encoders.encoder import Encoder, class_path
from feature_extraction.encoders.model_files import ModelFiles, identify
from feature_extraction.encoders.source_code import source_code
from feature_extraction.encoders.spec import EncoderSpec
from feature_extraction.errors import FeatureError
from feature_extraction.items.images import ASPECT_LIMIT, PIXEL_LIMIT
from feature_extraction.items.inputs import Item, ItemSource
from feature_extraction.items.raw_modality import FileModality, RawModality
from feature_extraction.stores.store import FORMAT_VERSION

_WINDOW = 1024  # items whose files are hashed at the same time


class Keyed(NamedTuple):
    """Ids of all items in order, and the content key of their features."""

    ids: list[str]
    key: str


def content_key(inputs: ItemSource, spec: EncoderSpec) -> str:
    """Return the key of the features that ``spec`` gives for ``inputs``.

    A SHA-256 over the format version, ids, the contents of the raw inputs (cleaned texts, bytes of
    files), the model files (hashes of a local folder, resolved commit of a hub id), preprocessing,
    pooling, precision, dtype, options and reduction; of a kind that is not of this package also its
    code. Batch size, devices and the place of the files are not part of it.

    Returns:
        64 hex digits.

    Raises:
        FeatureError: The encoder cannot be found, or the inputs hold nothing of its kind.
    """
    full = key_of(inputs, spec, identify(spec)).key
    return full if spec.reduce is None else reduced_key(full, spec.reduce, whiten=spec.whiten)


def reduced_key(full: str, size: int, *, whiten: bool) -> str:
    """Return the content key of features that are reduced.

    Args:
        full: Content key of the features as they were.
        size: Columns that are kept.
        whiten: Whether each gets variance 1.
    """
    return hashlib.sha256(_line(["slifmr reduction", full, size, whiten])).hexdigest()


def key_of(inputs: ItemSource, spec: EncoderSpec, files: ModelFiles) -> Keyed:
    """Pass over all items once; returns their ids and the content key before any reduction."""
    encoder = spec.encoder()
    digest = hashlib.sha256(
        _line(["slifmr features", FORMAT_VERSION, _encoder_settings(spec, encoder, files)])
    )
    ids: list[str] = []
    any_input = False
    items = iter(inputs)
    with ThreadPoolExecutor() as pool:
        while window := list(islice(items, _WINDOW)):
            contents = _contents(window, encoder.reads, inputs, pool)
            for item, content in zip(window, contents, strict=True):
                digest.update(_line([item.id, content]))
                any_input = any_input or bool(content)
                ids.append(item.id)
    if not any_input:
        name = encoder.reads.name
        raise FeatureError(
            f"none of the {len(ids)} items has {name} inputs",
            expected=f"inputs of at least one item for a {spec.kind} encoder, which reads {name}",
            fix=f"check where the {name} inputs come from, or use another kind of encoder",
        )
    return Keyed(ids, digest.hexdigest())


def encoder_code(encoder: Encoder) -> dict[str, str]:
    """What identifies the code of an encoder kind; empty for the kinds of this package."""
    return source_code(type(encoder), type(encoder.reads))


def other_options(spec: EncoderSpec) -> dict[str, Any]:
    """Arguments of the kind's constructor beside those that are fields of a spec."""
    fields = ("pooling", "max_length", "long_texts")
    return {name: value for name, value in spec.arguments.items() if name not in fields}


def _encoder_settings(spec: EncoderSpec, encoder: Encoder, files: ModelFiles) -> dict[str, Any]:
    """What features depend on in their encoder; the form has to stay as it is in old stores."""
    options = spec.arguments
    settings = {
        "kind": encoder.kind,
        "files": files.files if files.is_local else [files.name, files.commit],
        "pooling": encoder.pooling,
        "max_length": options.get("max_length"),
        "long_texts": options.get("long_texts", "truncate"),
        "precision": spec.precision,
        "dtype": spec.dtype,
        "image_limits": [PIXEL_LIMIT, ASPECT_LIMIT],
    }
    code = encoder_code(encoder)
    if others := other_options(spec):
        settings["options"] = others
    if code:  # the code of this package's kinds is what FORMAT_VERSION stands for
        settings |= {"kind": class_path(type(encoder)), "options": options, "code": code}
    return settings


def _contents(
    items: Sequence[Item], reads: RawModality, source: ItemSource, pool: ThreadPoolExecutor
) -> Iterator[Any]:
    """What stands for the raw inputs of each item; None where it has none."""
    files = source.files(reads.name)
    raw = [item.inputs.get(reads.name, ()) for item in items]
    every = [one for inputs in raw for one in inputs]
    run = pool.map if isinstance(reads, FileModality) else map
    contents = iter(run(lambda one: reads.fingerprint(one, files), every))
    for inputs in raw:
        own = list(islice(contents, len(inputs)))
        yield (own or None) if reads.several else next(iter(own), None)


def _line(value: Any) -> bytes:
    # JSON escapes line breaks, so that two different sequences never give the same bytes.
    try:
        return json.dumps(value).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise FeatureError(
            f"{value!r:.100} has no fingerprint ({error})",
            expected="raw inputs and options of plain types: texts, bytes, numbers, lists, arrays",
            fix="convert them first, or write `fingerprint` of the raw modality",
        ) from error
