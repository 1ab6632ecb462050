"""Hashes that tell whether two runs were trained and evaluated on the same interactions."""

import hashlib

import numpy as np

from slifmr_pl.data.dataset import RecommendationData


def part_fingerprints(data: RecommendationData) -> dict[str, str]:
    """SHA-256 (hex) of `users`, `items`, `train`, `valid` and `test`.

    Neither the knowledge graph nor features are part of it, so that a model with them and one
    without are evaluated on the same parts.
    """
    fingerprints = {"users": data.users.fingerprint(), "items": data.items.fingerprint()}
    for name, part in (("train", data.train), ("valid", data.valid), ("test", data.test)):
        # Rows say nothing without their ids.
        digest = hashlib.sha256("".join(fingerprints[key] for key in ("users", "items")).encode())
        for rows in (part.users, part.items):
            digest.update(rows.astype(np.dtype("<i8")).tobytes())
        fingerprints[name] = digest.hexdigest()
    return fingerprints
