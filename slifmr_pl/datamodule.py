"""The data module of a data folder: files → features and graphs → batches."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from jsonargparse import ArgumentError, ArgumentParser
from pytorch_lightning.utilities import rank_zero_only

from feature_extraction import FeatureStore
from feature_extraction.extraction.extraction_config import ExtractionConfig
from slifmr_pl.config.changed import changed_fields
from slifmr_pl.config.files import load_named_plugins
from slifmr_pl.config.plugins import find_class
from slifmr_pl.config.sections import class_and_settings
from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.features import ModalitySource, feature_stores, unused_stores
from slifmr_pl.data.formats.data_folder import FormatName, read
from slifmr_pl.data.formats.frames import raw_data
from slifmr_pl.data.frozen_features import FrozenFeatures, aligned_features, written_features
from slifmr_pl.data.reader import Reader
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.building import require_modalities
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.recommendation_datamodule import RecommendationDataModule

logger = logging.getLogger(__name__)


class SlifMrDataModule(RecommendationDataModule):
    """Interactions, knowledge graph and item features of one data folder.

    Args:
        root: Data folder, in the own layout or another format.
        format: Which of them: a built-in one by its name, or a reader by its class; "auto" looks.
        modalities: Sources of item features, by modality; for example
            {text: {kind: bert, encoder: bert-base-uncased, columns: [title]}}.
        extraction: How features are computed.
        **options: As of every data module.
    """

    def __init__(
        self,
        root: str,
        format: FormatName | Reader = "auto",  # the option's name on the command line
        *,
        modalities: dict[str, ModalitySource] | None = None,
        extraction: ExtractionConfig = ExtractionConfig(),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root = Path(root)
        self.format = format
        self.modalities = modalities or {}
        self.extraction = extraction
        self._frames: RawData | None = None
        for name, source in self.modalities.items():
            source.check(name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r})"

    @classmethod
    def from_frames(
        cls,
        interactions: Any,
        items: Any = None,
        kg: Any = None,
        links: Any = None,
        *,
        root: str = ".",
        **options: Any,
    ) -> Self:
        """Takes data frames of pandas, Polars or PyArrow in place of the files of a folder.

        Args:
            interactions: Frame with `user_id` and `item_id`; optional `rating`, `timestamp`,
                `split`.
            items: Frame with `item_id` and any text columns.
            kg: Frame with `head_id`, `relation_id`, `tail_id`.
            links: Frame with `item_id`, `entity_id`.
            root: Folder that picture paths and feature stores are relative to.
            **options: As of the constructor.

        Raises:
            DataError: Something is no frame, or a value is bad.
            TableError: A column is missing.
        """
        module = cls(root, **options)
        module._frames = raw_data(interactions, items, kg, links, Path(root))
        return module

    def tables(self) -> RawData:
        """The tables of the data folder, or of the frames that were given in its place."""
        return self._frames or read(self.root, self.format)

    def features(self, items: Vocabulary) -> Mapping[str, FrozenFeatures]:
        """Features of each modality, extracted now unless they are cached."""
        found = {}
        for name, store in self.stores.items():
            source = self.modalities[name]
            rows = source.rows(name, self.root)
            found[name] = (
                written_features(store, rows, self.data, source.missing, source.similarity)
                if rows is not None
                else aligned_features(
                    store, items, self.cache / "aligned", source.missing, source.similarity
                )
            )
        return found

    def build_inputs(self) -> ModelInputs:
        """Graphs and features of the data folder."""
        for store in unused_stores(self.root, self.modalities):
            rank_zero_only(logger.warning)(
                "the features in %s are not used; data.modalities: {%s: {store: features/%s}} "
                "trains on them",
                *(store, store.name, store.name),
            )
        return super().build_inputs()

    def setup(self, stage: str) -> None:
        """Checks the encoders, and goes on as every data module."""
        if self._inputs is None:  # before anything is read
            require_modalities(self.perturbations, self.modalities)
            for name, source in self.modalities.items():
                if source.store is None:
                    source.spec(name, self.root)
        super().setup(stage)

    def unused_settings(self) -> dict[str, list[str]]:
        """As of every data module, and settings of the extraction where nothing is extracted."""
        found = super().unused_settings()
        names = changed_fields(self.extraction, all_but=("progress",))
        if names and all(source.store is not None for source in self.modalities.values()):
            found["no modality has an encoder"] = [f"data.extraction.{name}" for name in names]
        return found

    def prepare_data(self) -> None:
        """Fills the cache in one process, if there is something to compute."""
        if self.modalities or self.use_knowledge:
            super().prepare_data()

    @property
    def preparation(self) -> dict[str, Any]:
        """See `RecommendationDataModule.preparation`."""
        return {
            "format": self.format if isinstance(self.format, str) else self.format.settings,
            **super().preparation,
            "modalities": {name: asdict(source) for name, source in self.modalities.items()},
        }

    @cached_property
    def stores(self) -> dict[str, FeatureStore]:
        """The feature store of each modality; extracted now, unless they are cached."""
        return feature_stores(self.raw, self.modalities, self.cache / "features", self.extraction)


def data_module(
    configuration: Mapping[str, Any], file: Path | None = None, **changes: Any
) -> RecommendationDataModule:
    """The data module of a configuration, made of the class and as strictly as `fit` makes it.

    The plug-ins that the configuration names are imported.

    Args:
        configuration: As `merged_configuration` or a run's `config.yaml` gives it; what matters is
            below `data` and `plugins`.
        file: Where it stands, for the error.
        **changes: Settings that win over those of the section `data`, such as `root`.

    Raises:
        ConfigError: A key or value is not understood, or the class or a plug-in is not there.
    """
    load_named_plugins(configuration)
    name, settings = class_and_settings(configuration.get("data"), "data")
    where = f"the section data{'' if file is None else f' of {file}'}"
    kind = find_class(name, RecommendationDataModule, where) if name else SlifMrDataModule
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "data")
    try:
        config = parser.parse_object({"data": settings | changes})
    except ArgumentError as error:
        raise ConfigError(
            f"the data settings are not understood ({error})",
            expected="settings of this version of slifmr_pl",
            fix="mend the key or value",
            path=file,
        ) from error
    data: RecommendationDataModule = parser.instantiate(config)["data"]
    return data
