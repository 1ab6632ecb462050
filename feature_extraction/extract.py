"""Extract features once: the result is stored under a key of everything that it depends on."""

import logging
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from feature_extraction.encoding import Encoded, encode_items
from feature_extraction.errors import FeatureError
from feature_extraction.inputs import ItemInputs, key_of
from feature_extraction.spec import EncoderIdentity, EncoderSpec, identify
from feature_extraction.store import FeatureStore, set_aside, write_store

_LIBRARIES = ("torch", "transformers", "tokenizers", "pillow", "numpy")

logger = logging.getLogger(__name__)


def extract(
    inputs: ItemInputs,
    spec: EncoderSpec,
    output_root: Path,
    *,
    name: str,
    batch_size: int = 64,
    device: str = "auto",
    progress: bool = True,
) -> FeatureStore:
    """Return the features of all items, computed now or reused.

    The store is ``<output_root>/<name>-<first 16 digits of the content key>``. Items without
    text or image, and images that cannot be decoded, are zero rows that are not present; the
    latter are listed in the manifest with the reason.

    Args:
        inputs: The items; only texts or only images are used, as the encoder's kind says.
        spec: The encoder.
        output_root: Folder of the stores; made if needed.
        name: Name of the modality, e.g. ``image``.
        batch_size: Items that the encoder takes at once; changes no features.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: Whether to draw a progress bar on standard error.

    Raises:
        FeatureError: The encoder cannot be had, no item has a usable input, or the store cannot
            be written.
    """
    _check_options(name, batch_size)
    identity = identify(spec)
    key = key_of(inputs, spec, identity)
    target = Path(output_root) / f"{name}-{key[:16]}"
    store = _reuse(target, key)
    origin = "reused"
    if store is None:
        origin = "extracted"
        encoded = encode_items(
            inputs, spec, identity, batch_size=batch_size, device=device, progress=progress
        )
        _require_present(encoded, inputs)
        store = write_store(
            target,
            ids=inputs.ids,
            features=encoded.features,
            present=encoded.present,
            manifest=_manifest(inputs, spec, identity, key, encoded),
        )
    counts = ", ".join(f"{count} {what}" for what, count in store.manifest["counts"].items())
    logger.info("%s %s (%s)", origin, target, counts)
    return store


def _check_options(name: str, batch_size: int) -> None:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise FeatureError(
            f"the name {name!r} makes no folder name",
            expected="letters, digits, '_', '-' and '.', not beginning with '.' or '-'",
            fix="choose a name such as 'image'",
        )
    if batch_size < 1:
        raise FeatureError(
            f"batch_size is {batch_size}", expected="at least 1", fix="choose e.g. 64"
        )


def _reuse(target: Path, key: str) -> FeatureStore | None:
    if not target.exists():
        return None
    try:
        store = FeatureStore.open(target, verify=True)
        found = store.manifest.get("content_key")
        if found == key:
            return store
        reason = f"its content key is {found!r}"
    except FeatureError as error:
        reason = error.found
    logger.warning("%s is not whole (%s); moved to %s", target, reason, set_aside(target))
    return None


def _require_present(encoded: Encoded, inputs: ItemInputs) -> None:
    if not encoded.present.any():
        first = encoded.failures[0]
        raise FeatureError(
            f"no item gives features; {len(encoded.failures)} of {len(inputs.ids)} failed, item "
            f"{first['id']!r}: {first['reason']}",
            expected="at least one usable text or image",
            fix="check the files and the image folder",
        )


def _manifest(
    inputs: ItemInputs, spec: EncoderSpec, identity: EncoderIdentity, key: str, encoded: Encoded
) -> dict[str, Any]:
    items, present, failed = len(inputs.ids), int(encoded.present.sum()), len(encoded.failures)
    return {
        "content_key": key,
        "encoder": {
            "kind": spec.kind,
            "name": spec.name,
            "revision": spec.revision,
            "commit": identity.commit,
            "files": dict(identity.files),
        },
        "preprocessing": encoded.preprocessing,
        "pooling": spec.pooling if spec.kind == "bert" else "model",
        "counts": {
            "items": items,
            "present": present,
            "missing": items - present - failed,
            "failed": failed,
            "truncated": encoded.truncated,
        },
        "failures": sorted(encoded.failures, key=lambda failure: failure["id"]),
        "libraries": {library: version(library) for library in _LIBRARIES},
    }
