"""What identifies the data of a run."""

from dataclasses import asdict
from typing import Any

from slifmr_pl.data.fingerprints import part_fingerprints
from slifmr_pl.recommendation_datamodule import RecommendationDataModule


def data_record(data: RecommendationDataModule) -> dict[str, Any]:
    """Fingerprints of a data module, as plain types.

    Returns:
        `fingerprint` of everything that is trained on (features and knowledge too), `parts` with
        the fingerprints of users, items, train, valid and test, and the `split` and `filters` that
        made them.
    """
    return {
        "fingerprint": data.model_inputs.fingerprint,
        "parts": part_fingerprints(data.data),
        "split": asdict(data.split),
        "filters": asdict(data.filters),
    }
