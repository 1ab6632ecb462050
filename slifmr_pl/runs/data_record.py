"""What identifies the data of a run."""

from dataclasses import asdict, is_dataclass
from typing import Any

from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.data.fingerprints import part_fingerprints
from slifmr_pl.graphs.model_inputs import ModelInputs


def data_record(data: Any) -> dict[str, Any] | None:
    """Fingerprints of a data module, as plain types.

    Args:
        data: A data module with `model_inputs` and `data`; it may have `split` and `filters`.

    Returns:
        `fingerprint` of everything that is trained on (features and knowledge too), `parts` with
        the fingerprints of users, items, train, valid and test, and the `split` and `filters` that
        made them. None of a data module without them, or of none.
    """
    inputs, parts = getattr(data, "model_inputs", None), getattr(data, "data", None)
    if not isinstance(inputs, ModelInputs) or not isinstance(parts, RecommendationData):
        return None
    chosen = {name: getattr(data, name, None) for name in ("split", "filters")}
    return {
        "fingerprint": inputs.fingerprint,
        "parts": part_fingerprints(parts),
        **{
            name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else {}
            for name, value in chosen.items()
        },
    }
