"""Item features of a data folder: extracted once into feature stores, or taken from ready ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_extraction import (
    EncoderSpec,
    ExtractionConfig,
    FeatureStore,
    ItemInputs,
    extract,
)
from feature_extraction.items.texts import joined
from slifmr_pl.data.array_cache import Arrays, cached_arrays, content_key
from slifmr_pl.data.missing import Missing
from slifmr_pl.data.readers import RawData
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import ConfigError, DataError


@dataclass(frozen=True)
class ModalitySource:
    """Where one modality's features come from: an encoder over raw input, or a ready store.

    Attributes:
        kind: Which encoder: "clip-image", "clip-text", "siglip-image", "siglip-text", "vit",
            "bert", "sentence-transformer", or one that was registered.
        encoder: Hub id, `package:NAME/FOLDER` for weights inside a package, or a local folder,
            below the data folder or the working directory.
        revision: Commit of a hub id; pin it, so that the features stay the same.
        columns: Columns of the item table that make up the text, or the one with image paths.
        pooling: Of "bert" (default: mean) and "vit" (default: cls).
        max_length: Tokens that the model sees of a text; default the model's own limit.
        long_texts: What becomes of longer texts, see `EncoderSpec`.
        precision: Type that the encoder computes in.
        store: A folder that `python -m feature_extraction extract` wrote, instead of an encoder;
            below the data folder or the working directory.
        missing: What stands for the features of items that have none: "mask" leaves them out of
            this modality, "zero" counts a zero vector, "neighbours" takes the mean of the items
            with the same users in training, "learned" has the network learn one vector that is
            this view of all of them.
    """

    kind: str | None = None
    encoder: str | None = None
    revision: str | None = None
    columns: tuple[str, ...] = ()
    pooling: Literal["mean", "cls"] | None = None
    max_length: int | None = None
    long_texts: Literal["truncate", "head+tail", "chunk+mean"] = "truncate"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    store: str | None = None
    missing: Missing = "mask"

    def spec(self, name: str, root: Path) -> EncoderSpec:
        """The encoder, for the modality `name` of the data folder `root`.

        Raises:
            ConfigError: If the modality has neither an encoder nor a store.
        """
        if self.kind is None or self.encoder is None or not self.columns:
            raise ConfigError(
                f"data.modalities.{name} has no source",
                expected="kind, encoder and columns; or store",
                fix="for example {kind: bert, encoder: bert-base-uncased, columns: [title]}",
            )
        encoder = str(_located(self.encoder, root))
        return EncoderSpec(
            self.kind,
            encoder,
            self.revision,
            self.pooling,
            self.max_length,
            precision=self.precision,
            long_texts=self.long_texts,
        )


def feature_stores(
    raw: RawData,
    modalities: Mapping[str, ModalitySource],
    cache: Path,
    extraction: ExtractionConfig,
) -> dict[str, FeatureStore]:
    """Opens the feature store of each modality, computing first what the cache does not hold.

    All rows of the item table are extracted, so that other filters reuse the same store.

    Args:
        raw: The data folder's tables.
        modalities: Sources by modality.
        cache: Folder of the stores.
        extraction: How to compute.

    Raises:
        ConfigError: If a modality has no source.
        DataError: If there is no item table or no such column.
        FeatureError: If an encoder or a store cannot be used.
    """
    opened, jobs = {}, {}
    for name, source in modalities.items():  # all are checked before the first is computed
        if source.store is not None:
            opened[name] = FeatureStore.open(Path(_located(source.store, raw.root)))
        else:
            jobs[name] = _inputs(raw, name, source), source.spec(name, raw.root)
    for name, (inputs, spec) in jobs.items():
        opened[name] = extract(inputs, spec, cache, name=name, config=extraction)
    return {name: opened[name] for name in modalities}


def aligned_features(
    store: FeatureStore, items: Vocabulary, cache: Path
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """A store's features and presence in the order of the items, see `FeatureStore.aligned`.

    They are kept in a file of the cache, so that the processes of a machine share its pages.
    """

    def aligned() -> Arrays:
        features, present = store.aligned(items.ids.to_pylist())
        return {"features": features, "present": present}

    settings = {"items": items.fingerprint(), "store": store.manifest["files"]}
    key = content_key(settings, {}, [Path(__file__)])
    arrays = cached_arrays(cache, "features", key, aligned)
    return arrays["features"], arrays["present"]


def _located(name: str, root: Path) -> str | Path:
    """The folder of that name below the data folder, or else the name as it is."""
    return root / name if (root / name).is_dir() else name


def _inputs(raw: RawData, name: str, source: ModalitySource) -> ItemInputs:
    spec = source.spec(name, raw.root)
    if raw.items is None:
        raise DataError(
            f"data.modalities.{name} reads the item table, and there is none",
            expected="a file of items beside the interactions",
            fix="add it, or take the modality out of the configuration",
            path=raw.root,
        )
    table: pa.Table = raw.items
    for column in source.columns:
        if column not in table.column_names:
            raise DataError(
                f"data.modalities.{name} reads the column {column!r}, which the items lack",
                expected=f"one of {', '.join(table.column_names)}",
                fix=f"set data.modalities.{name}.columns",
                path=raw.root,
            )
    columns = [table[column].to_pylist() for column in source.columns]
    if spec.reads == "text":
        return ItemInputs(
            ids=table["item_id"].to_pylist(),
            texts=[joined(fields) for fields in zip(*columns, strict=True)],
        )
    if len(columns) != 1:
        raise ConfigError(
            f"data.modalities.{name} has {len(columns)} image columns",
            expected="one column of image paths",
            fix=f"set data.modalities.{name}.columns",
        )
    return ItemInputs(
        ids=table["item_id"].to_pylist(),
        images=columns[0],
        image_root=raw.root,
    )
