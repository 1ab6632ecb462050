"""Extract features once: the result is stored under a key of everything that it depends on."""

import logging
import re
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from feature_extraction.encoders.model_files import ModelFiles, identify, needs_network
from feature_extraction.encoders.spec import EncoderSpec
from feature_extraction.errors import FeatureError
from feature_extraction.extraction.extraction_config import ExtractionConfig
from feature_extraction.extraction.keys import (
    Keyed,
    content_key,
    encoder_code,
    key_of,
    other_options,
    reduced_key,
)
from feature_extraction.items.inputs import ItemSource
from feature_extraction.stores.partial import locked
from feature_extraction.stores.reduction import reduce_store
from feature_extraction.stores.store import FeatureStore, set_aside, writing

_LIBRARIES = ("torch", "transformers", "tokenizers", "pillow", "numpy")

logger = logging.getLogger(__name__)


def extract(
    inputs: ItemSource,
    spec: EncoderSpec,
    output_root: Path,
    *,
    name: str,
    config: ExtractionConfig = ExtractionConfig(),
) -> FeatureStore:
    """Return the features of all items, computed now or reused.

    The store is ``<output_root>/<name>-<first 16 digits of the content key>``. Items without
    text or image, and images that cannot be decoded, are zero rows that are not present; the
    latter are listed in the store's ``failures.csv`` with the reason.

    Whatever ends a run, the next one with the same inputs goes on behind the last finished shard
    (``SHARD_ROWS`` items), which it finds in ``<store>.partial``.

    Features that ``spec.reduce`` reduces are another store; the full ones stay beside it, for
    other reductions of them.

    Args:
        inputs: The items; only the raw modality that the encoder reads is used.
        spec: The encoder.
        output_root: Folder of the stores; made if needed.
        name: Name of the modality, e.g. ``image``.
        config: How to compute; changes no features.

    Raises:
        FeatureError: The encoder cannot be had, no item has a usable input, or the store cannot
            be written.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise FeatureError(
            f"the name {name!r} makes no folder name",
            expected="letters, digits, '_', '-' and '.', not beginning with '.' or '-'",
            fix="choose a name such as 'image'",
        )
    files = identify(spec)
    keyed = key_of(inputs, spec, files)

    def full(partial: Path, target: Path) -> FeatureStore:
        return _compute(inputs, spec, files, keyed, partial, target, config)

    if spec.reduce is None:
        return _stored(output_root, name, keyed.key, full)
    size, whiten = spec.reduce, spec.whiten
    key = reduced_key(keyed.key, size, whiten=whiten)

    def reduced(_: Path, target: Path) -> FeatureStore:
        store = _stored(output_root, name, keyed.key, full)
        return reduce_store(store, target, key, size, whiten=whiten)

    return _stored(output_root, name, key, reduced)


def extracted_before(
    inputs: ItemSource, spec: EncoderSpec, output_root: Path, *, name: str
) -> FeatureStore | None:
    """Return the store that ``extract`` would reuse; nothing is encoded or downloaded.

    Args:
        inputs: The items.
        spec: The encoder.
        output_root: Folder of the stores.
        name: Name of the modality.

    Returns:
        None where there is no such store, or where only the hub could tell.

    Raises:
        FeatureError: The encoder or the store cannot be had.
    """
    if needs_network(spec):
        return None
    key = content_key(inputs, spec)
    target = Path(output_root) / f"{name}-{key[:16]}"
    return FeatureStore.open(target) if target.is_dir() else None


def _stored(
    root: Path, name: str, key: str, compute: Callable[[Path, Path], FeatureStore]
) -> FeatureStore:
    """The store of a content key, computed in a folder of its own where there is none."""
    target = Path(root) / f"{name}-{key[:16]}"
    store, origin = _reuse(target, key), "reused"
    if store is None:
        partial = target.with_name(f"{target.name}.partial")
        with writing(target), locked(partial):
            store = _reuse(target, key)  # another process may have been first
            if store is None:
                origin = "extracted"
                store = compute(partial, target)
    counts = ", ".join(f"{count} {what}" for what, count in store.manifest["counts"].items())
    logger.info("%s %s (%s)", origin, target, counts)
    return store


def _compute(
    inputs: ItemSource,
    spec: EncoderSpec,
    files: ModelFiles,
    keyed: Keyed,
    folder: Path,
    target: Path,
    config: ExtractionConfig,
) -> FeatureStore:
    # torch and transformers take seconds to import; reusing a store needs neither.
    from feature_extraction.extraction.running import encode_all

    partial_store, encoder = encode_all(inputs, keyed.ids, spec, files, folder, config)
    present, outcome = partial_store.present(), partial_store.outcome()
    if not present:
        shutil.rmtree(folder)
        item, file, reason = outcome.failures[0]
        where = f"item {item!r} ({file})" if file else f"item {item!r}"
        failed = f"{outcome.failed} of {partial_store.rows} failed"
        raise FeatureError(
            f"no item gives features; {failed}, {where}: {reason}",
            expected=f"at least one usable {encoder.reads.name}",
            fix="check the inputs, and the folder of their files",
        )
    own: dict[str, Any] = {"options": others} if (others := other_options(spec)) else {}
    if code := encoder_code(encoder):
        own = {"options": spec.arguments, "code": code}
    manifest = {
        "content_key": keyed.key,
        "encoder": {
            "kind": spec.kind,
            "name": spec.name,
            "revision": spec.revision,
            "commit": files.commit,
            "precision": spec.precision,
            "files": dict(files.files),
            **own,
        },
        "preprocessing": encoder.preprocessing,
        "pooling": encoder.pooling,
        "counts": {
            "items": partial_store.rows,
            "present": present,
            "missing": partial_store.rows - present - outcome.failed,
            "failed": outcome.failed,
            "truncated": 0,
            "chunked": 0,
            encoder.long_inputs: outcome.long,
        },
        "libraries": {library: version(library) for library in _LIBRARIES},
    }
    store = partial_store.finish(target, ids=keyed.ids, manifest=manifest)
    shutil.rmtree(folder, ignore_errors=True)  # of no use where another store was first
    return store


def _reuse(target: Path, key: str) -> FeatureStore | None:
    if not target.exists():
        return None
    try:
        store = FeatureStore.open(target, verify=True)
        stored_key = store.manifest.get("content_key")
        if stored_key == key:
            return store
        reason = f"its content key is {stored_key!r}"
    except FeatureError as error:
        reason = error.found
    logger.warning("%s is not whole (%s); moved to %s", target, reason, set_aside(target))
    return None
