"""The data of a run, read again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slifmr_pl.config.sections import class_and_settings
from slifmr_pl.datamodule import data_module
from slifmr_pl.errors import RunError
from slifmr_pl.recommendation_datamodule import RecommendationDataModule
from slifmr_pl.runs.run_folders import CONFIG_FILE


def run_data(
    settings: Mapping[str, Any], folder: Path, root: Path | None = None
) -> RecommendationDataModule:
    """The data module that a run was trained with; plug-ins that the run names are imported.

    Args:
        settings: The run's `config.yaml`.
        folder: The run's folder, for errors.
        root: Where the data are now; None where the configuration says.

    Raises:
        RunError: They are not there.
        UserFacingError: They cannot be read with the run's settings.
    """
    configured = class_and_settings(settings.get("data"), "data")[1].get("root")
    place = configured if root is None else root  # not all data are in a folder
    if place is not None and not Path(place).exists():
        raise RunError(
            "the run's data are not there",
            expected="the data that the run was trained on",
            fix="say where they are with --data.root PATH",
            path=place,
        )
    changes = {} if root is None else {"root": str(root)}
    return data_module(settings, folder / CONFIG_FILE, **changes)
