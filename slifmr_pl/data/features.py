"""Item features of a data folder: extracted once into feature stores, or taken from ready ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from feature_extraction import (
    EncoderSpec,
    ExtractionConfig,
    FeatureStore,
    FileModality,
    InputError,
    ItemInputs,
    ItemSource,
    RawModality,
    UserFacingError,
    extract,
)
from feature_extraction.extraction.extract import extracted_before
from feature_extraction.items.input_files import names_by_item, open_files
from feature_extraction.stores.neighbour_quality import Similarity
from slifmr_pl.config.bounds import is_number, require
from slifmr_pl.config.changed import changed_fields
from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.interaction_sources import InteractionRows
from slifmr_pl.data.missing import Missing
from slifmr_pl.errors import ConfigError, DataError


@dataclass(frozen=True)
class ModalitySource:
    """Where one modality's features come from: an encoder over raw input, or a ready store.

    Attributes:
        kind: Which encoder: "image" (any vision model), "text" (any text model), "clip" (a model
            of both, with `options: {side: image}` or `text`), "sentence-transformer", another
            one of docs/features.md, the short name of one that a plug-in brings, or the class
            path of one, `my_package.MyEncoder`, which is then imported.
        encoder: Hub id, `package:NAME/FOLDER` for weights inside a package, or a local folder,
            below the data folder or the working directory; unless the kind has no files.
        revision: Commit of a hub id; pin it, so that the features stay the same.
        columns: Columns of the item table that make up the text, or hold what else the encoder
            reads: paths of images or other files, numbers. None finds files by item id.
        files: Folder or archive of the files, below the data folder or the working directory;
            default the data folder.
        pooling: How tokens or patches become one vector, where the kind has a choice.
        max_length: Tokens that the model sees of a text; default the model's own limit.
        long_texts: What becomes of longer texts, see `EncoderSpec`.
        precision: Type that the encoder computes in.
        options: More arguments of the encoder's class, in plain types.
        reduce: Columns to keep of the features, their principal components; null keeps all.
        whiten: Whether each of these columns gets variance 1.
        reviews: A table with a row for each review, such as the interactions themselves, below the
            data folder or the working directory; `columns` are of it. An item's features are the
            mean over its reviews by training interactions: no other review is looked at.
        users: A table with a row for each user; `columns` are of it. An item's features are the
            mean over the users that have it in training.
        id_columns: Columns of the ids in that table; default `user_id` and `item_id`, or
            `user_id`.
        store: A folder that `python -m feature_extraction extract` wrote, instead of an encoder;
            below the data folder or the working directory.
        missing: What stands for the features of items that have none: "mask" leaves them out of
            this modality, "zero" counts a zero vector, "neighbours" takes the mean of the items
            with the same users in training, "learned" has the network learn one vector that is
            this view of all of them.
        similarity: What the cosines of the modality graph are of: the features as they are
            ("plain"), without their mean ("centred"), or also with the same variance in every
            direction ("whitened"); default as `data.centre_features` says.
    """

    kind: str | None = None
    encoder: str | None = None
    revision: str | None = None
    columns: tuple[str, ...] = ()
    files: str | None = None
    pooling: Literal["mean", "cls", "max", "last", "pooler"] | None = None
    max_length: int | None = None
    long_texts: Literal["truncate", "head+tail", "chunk+mean"] = "truncate"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    options: dict[str, Any] = field(default_factory=dict)
    reduce: int | None = None
    whiten: bool = False
    reviews: str | None = None
    users: str | None = None
    id_columns: tuple[str, ...] = ()
    store: str | None = None
    missing: Missing = "mask"
    similarity: Similarity | None = None

    def __post_init__(self) -> None:
        limit, size = self.max_length, self.reduce
        holds = limit is None or is_number(limit, least=1, whole=True)
        reduces = size is None or is_number(size, least=1, whole=True)
        ids = self.id_columns
        wanted = 2 if self.reviews else int(self.users is not None)
        sources = [one for one in (self.reviews, self.users, self.store) if one is not None]
        no_store = self.store is None or (size is None and not self.whiten)
        require(
            "data.modalities.NAME",
            ("max_length", limit, holds, "at least 1 token, or null"),
            ("reduce", size, reduces, "at least 1 column, or null"),
            ("reviews", sources, len(sources) <= 1, "one of reviews, users and store"),
            (
                "id_columns",
                ids,
                len(ids) in (0, wanted),
                "of user and item with reviews, of the user with users, else none",
            ),
            ("whiten", self.whiten, size is not None or not self.whiten, "reduce beside it"),
            (
                "store",
                self.store,
                no_store,
                "no reduce or whiten beside it: python -m feature_extraction reduce does that",
            ),
        )

    def check(self, name: str) -> None:
        """Refuses a modality `name` without a source, and one with two.

        Raises:
            ConfigError: If it has neither an encoder nor a store, or settings of both.
        """
        if self.store is None:
            if self.kind is None or not (self.columns or self.files):
                raise self._without_source(name)
        elif others := changed_fields(self, all_but=("store", "missing", "similarity")):
            raise ConfigError(
                f"data.modalities.{name} has a store, and {', '.join(others)}, which a store does "
                "not read",
                expected="a store, or an encoder with its columns or files",
                fix=f"leave {', '.join(others)} out, or store",
            )

    def spec(self, name: str, root: Path) -> EncoderSpec:
        """The encoder, for the modality `name` of the data folder `root`.

        Raises:
            ConfigError: If the modality has no source that it can read.
            FeatureError: If there is no such encoder.
        """
        self.check(name)
        assert self.kind is not None
        spec = EncoderSpec(
            self.kind,
            str(_located(self.encoder, root)) if self.encoder else "",
            self.revision,
            self.pooling,
            self.max_length,
            precision=self.precision,
            long_texts=self.long_texts,
            options=self.options,
            reduce=self.reduce,
            whiten=self.whiten,
        )
        by_item = self.reviews is None and self.users is None
        if not self.columns and not by_item:
            raise self._without_source(name)
        if not isinstance(spec.reads, FileModality):
            if not self.columns:
                raise self._without_source(name)
            if self.files is not None:
                raise ConfigError(
                    f"data.modalities.{name}.files is {self.files!r}, and {self.kind} reads no "
                    "files",
                    expected=f"columns that hold the {spec.reads.name} itself",
                    fix="leave files out",
                )
        return spec

    def place(self, root: Path) -> Path:
        """Where the files are that columns or item ids name, for the data folder `root`."""
        inside = root / (self.files or ".")
        return inside if inside.exists() else Path(self.files or ".")

    def rows(self, name: str, root: Path) -> InteractionRows | None:
        """The table of reviews or users that it reads; None of what belongs to items.

        Raises:
            ConfigError: If it has no encoder or columns.
        """
        table = self.reviews or self.users
        if table is None:
            return None
        reads = self.spec(name, root).reads
        ids = self.id_columns or (("user_id", "item_id") if self.reviews else ("user_id",))
        path = root / table if (root / table).is_file() else Path(table)
        return InteractionRows(path, ids, self.columns, reads, self.place(root))

    def _without_source(self, name: str) -> ConfigError:
        return ConfigError(
            f"data.modalities.{name} has no source",
            expected="kind, encoder and columns; or store",
            fix="for example {kind: bert, encoder: bert-base-uncased, columns: [title]}",
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
    opened: dict[str, FeatureStore] = {}
    jobs: dict[str, tuple[ItemSource, EncoderSpec]] = {}
    for name, source in modalities.items():  # all are checked before the first is computed
        if source.store is not None:
            opened[name] = FeatureStore.open(Path(_located(source.store, raw.root)))
        else:
            spec, rows = source.spec(name, raw.root), source.rows(name, raw.root)
            jobs[name] = rows or _inputs(raw, name, source, spec.reads), spec
    for name, (inputs, spec) in jobs.items():
        opened[name] = extract(inputs, spec, cache, name=name, config=extraction)
    return {name: opened[name] for name in modalities}


def ready_stores(
    raw: RawData, modalities: Mapping[str, ModalitySource], cache: Path
) -> dict[str, FeatureStore]:
    """Opens the feature stores that are there already; no encoder runs.

    Args:
        raw: The data folder's tables.
        modalities: Sources by modality.
        cache: Folder of the stores that were extracted before.

    Raises:
        FeatureError: If a store cannot be read.
    """
    stores: dict[str, FeatureStore | None] = {}
    for name, source in modalities.items():
        if source.store is not None:
            stores[name] = FeatureStore.open(Path(_located(source.store, raw.root)))
            continue
        if source.reviews or source.users:  # features of items are made of it by training
            continue
        try:
            spec = source.spec(name, raw.root)
            inputs = _inputs(raw, name, source, spec.reads)
            stores[name] = extracted_before(inputs, spec, cache, name=name)
        except UserFacingError:  # `fit` says what is wrong
            stores[name] = None
    return {name: store for name, store in stores.items() if store is not None}


def unused_stores(root: Path, modalities: Mapping[str, ModalitySource]) -> list[Path]:
    """Feature stores in ``features/`` of a data folder that no modality reads.

    Args:
        root: The data folder.
        modalities: Sources by modality.
    """
    used = {
        Path(_located(source.store, root)).resolve()
        for source in modalities.values()
        if source.store is not None
    }
    there = sorted(file.parent for file in root.glob("features/*/manifest.json"))
    return [store for store in there if store.resolve() not in used]


def _located(name: str, root: Path) -> str | Path:
    """The folder of that name below the data folder, or else the name as it is."""
    return root / name if (root / name).is_dir() else name


def _inputs(raw: RawData, name: str, source: ModalitySource, reads: RawModality) -> ItemInputs:
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
    if isinstance(reads, FileModality) and len(source.columns) > 1:
        raise ConfigError(
            f"data.modalities.{name} has {len(source.columns)} {reads.name} columns",
            expected=f"one column of paths of {reads.name} files",
            fix=f"set data.modalities.{name}.columns",
        )
    ids = table["item_id"].to_pylist()
    place = source.place(raw.root)
    inputs: Sequence[Any]
    if source.columns:
        inputs = _from_columns(table.select(source.columns), name, reads, raw.root)
    else:
        assert isinstance(reads, FileModality)
        named = names_by_item(open_files([place], reads.name), reads.suffixes)
        inputs = [named.get(item) for item in ids]
    return ItemInputs(ids, inputs={reads.name: inputs}, roots={reads.name: place})


def _from_columns(
    table: pa.Table, name: str, reads: RawModality, root: Path
) -> list[tuple[Any, ...]]:
    """The raw inputs of each row."""
    columns = [table[column].to_pylist() for column in table.column_names]
    inputs = []
    for row, values in enumerate(zip(*columns, strict=True), start=1):
        try:
            inputs.append(reads.from_columns(dict(zip(table.column_names, values, strict=True))))
        except InputError as error:
            raise DataError(
                f"data.modalities.{name}: {error}",
                expected=reads.expects,
                fix=f"mend the item, or set data.modalities.{name}.columns",
                path=root,
                row=row,
            ) from error
    return inputs
