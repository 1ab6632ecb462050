"""Findings in pictures and texts: which items have them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_extraction import FileModality, InputError
from feature_extraction.items.images import ImageModality, decode_image
from feature_extraction.items.input_files import names_by_item, open_files
from feature_extraction.stores.store import FeatureStore
from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.data.features import ModalitySource
from slifmr_pl.data.interaction_sources import InteractionRows, training_rows
from slifmr_pl.report.html.item_cards import holds_pictures

_WITH_DETAILS = ("cannot be decoded", "an absolute path")  # of the one file, in parentheses
_DECODED = 2000  # most pictures that are decoded to see whether they are whole


@dataclass(frozen=True)
class Coverage:
    """Which items of the catalogue have a modality.

    Attributes:
        name: Of the modality, or of the column where the configuration names no modality.
        source: Where it comes from.
        items: Items of the catalogue.
        present: Items that have it.
        missing: Items without an entry.
        unusable: Items whose entry gives nothing, by reason.
        decoded: Pictures that were decoded to see whether they are whole; None for other sources.
        examples: An entry that gives nothing, by the same reasons.
        refused: Why `fit` would refuse the modality; empty where it would not.
    """

    name: str
    source: str
    items: int
    present: int
    missing: int
    unusable: dict[str, int]
    decoded: int | None = None
    refused: str = ""
    examples: dict[str, str] = field(default_factory=dict)


def coverages(
    data: RecommendationData, modalities: Mapping[str, ModalitySource], root: Path
) -> list[Coverage]:
    """Looks at each modality; without a configuration, at each column of the item table.

    Args:
        data: The catalogue and its item table.
        modalities: As configured.
        root: The data folder.

    Raises:
        FeatureError: A feature store that is named cannot be read.
    """
    table = data.item_table
    coverage = []
    for name, source in modalities.items():
        if source.store is not None:
            coverage.append(_of_store(name, source.store, data, root))
            continue
        rows = source.rows(name, root)
        if rows is not None:
            coverage.append(_of_rows(name, rows, data))
            continue
        if source.files is not None and not source.columns:
            coverage.append(_of_files(name, source, data, root))
            continue
        there = [] if table is None else table.column_names
        absent = [column for column in source.columns if column not in there]
        if table is None or absent or not source.columns:
            why = "no item table" if table is None else f"no column {', '.join(absent)}".rstrip()
            n_items = len(data.items)
            coverage.append(Coverage(name, why, n_items, 0, n_items, {}, refused=why))
            continue
        reads = source.spec(name, root).reads
        what = "image" if isinstance(reads, ImageModality) else reads.name
        place = source.place(root)
        coverage.append(_of_columns(name, table, list(source.columns), place, what))
    if modalities or table is None:
        return coverage
    return [
        _of_columns(
            column,
            table,
            [column],
            root,
            "image" if holds_pictures(table[column]) else "text",
        )
        for column in table.column_names
        if column != "item_id"
    ]


def _of_store(name: str, store: str, data: RecommendationData, root: Path) -> Coverage:
    opened = FeatureStore.open(root / store if (root / store).is_dir() else store)
    rows = data.items.encode(list(opened.ids), unknown=-1)
    inside = rows >= 0
    present = int(opened.present[inside].sum())
    held = int(inside.sum())
    masked = {"masked in the store": held - present} if held > present else {}
    return Coverage(
        name, f"store {store}", len(data.items), present, len(data.items) - held, masked
    )


def _of_rows(name: str, rows: InteractionRows, data: RecommendationData) -> Coverage:
    counted = training_rows(rows, data.users, data.items, data.train)
    filled = np.array([bool(item.inputs) for item in rows], np.float32)
    present = int((counted @ filled > 0).sum())
    n_items = len(data.items)
    what = f"{', '.join(rows.columns)} of {rows.path.name}, by training interactions"
    return Coverage(name, what, n_items, present, n_items - present, {})


def _of_files(name: str, source: ModalitySource, data: RecommendationData, root: Path) -> Coverage:
    reads = source.spec(name, root).reads
    assert isinstance(reads, FileModality)
    files = open_files([source.place(root)], reads.name)
    there = names_by_item(files, reads.suffixes).keys() & set(data.items.ids.to_pylist())
    n_items, present = len(data.items), len(there)
    what = f"{reads.name} files in {source.files}, by item id"
    return Coverage(name, what, n_items, present, n_items - present, {})


def _of_columns(name: str, table: pa.Table, columns: list[str], place: Path, what: str) -> Coverage:
    n_items = table.num_rows
    filled = np.zeros(n_items, np.bool_)
    for column in columns:
        text = pc.utf8_trim_whitespace(table[column].combine_chunks())
        filled |= pc.not_equal(text, "").to_numpy(zero_copy_only=False)
    pictures = what == "image"
    source = f"{'pictures' if pictures else what} of {', '.join(columns)}"
    missing = int((~filled).sum())
    if not pictures:
        return Coverage(name, source, n_items, n_items - missing, missing, {})
    unusable, examples, decoded = _broken(
        table[columns[0]].take(np.flatnonzero(filled)).to_pylist(), place
    )
    present = n_items - missing - sum(unusable.values())
    return Coverage(name, source, n_items, present, missing, unusable, decoded, examples=examples)


def _broken(paths: list[str], place: Path) -> tuple[dict[str, int], dict[str, str], int]:
    """Why pictures are of no use, an example of each, and how many were decoded to find out."""
    step = max(1, -(-len(paths) // _DECODED))
    files = open_files([place], "image")
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for number, path in enumerate(paths):
        try:
            file = files.find(path)
            if number % step == 0:
                decode_image(file)
            elif isinstance(file, Path) and not file.is_file():
                raise InputError("file not found")
        except InputError as error:
            reason = str(error)
            if reason.startswith(_WITH_DETAILS):
                reason = reason.partition(" (")[0]
            reasons[reason] += 1
            examples.setdefault(reason, path)
    return dict(reasons.most_common()), examples, -(-len(paths) // step)
