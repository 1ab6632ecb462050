"""Everything that was found in data, and what training does with it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from feature_extraction.stores.neighbour_quality import NeighbourQuality
from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.data.summary import DataSummary
from slifmr_pl.recommendation_datamodule import RecommendationDataModule
from slifmr_pl.report.inspection.interaction_findings import (
    Degrees,
    Times,
    degrees,
    given_parts,
    in_several_parts,
    lookalikes,
    times,
)
from slifmr_pl.report.inspection.knowledge_findings import KnowledgeFindings, knowledge_findings
from slifmr_pl.report.inspection.modality_findings import Coverage, coverages
from slifmr_pl.report.inspection.signal_findings import signals

_LOOKALIKES = 5  # groups that are named


@dataclass(frozen=True)
class Inspection:
    """What `inspect` prints and writes.

    Attributes:
        name: Of the data: the folder's, or that of the class where the data are of no folder.
        root: The data folder.
        settings: `filters`, `split` and the other settings that the data were read with.
        summary: What became of every row.
        notes: What the reader of the files repaired, left out or did not use.
        entities: Entities of the knowledge graph, items included.
        relations: Its relations.
        density: Share of all pairs of a user and an item that interacted.
        given_parts: Rows of each part by the data's own column `split`.
        in_several_parts: Pairs that it puts into more than one.
        users: Interactions of a user, all parts together.
        items: Interactions of an item, all parts together.
        few: Items with fewer than five training interactions, but one at least.
        times: Range of time, and leaks through it; None without times.
        lookalikes: Groups of item ids that differ only in case or blanks around them.
        lookalike_examples: Some of them.
        knowledge: None where no knowledge graph is used.
        coverage: By modality.
        signal: What the nearest neighbours of each modality say of who likes what, by modality
            whose features are there already.
    """

    name: str
    root: str
    settings: dict[str, Any]
    summary: DataSummary
    notes: tuple[str, ...]
    entities: int
    relations: int
    density: float
    given_parts: dict[str, int]
    in_several_parts: int
    users: Degrees
    items: Degrees
    few: int
    times: Times | None
    lookalikes: int
    lookalike_examples: list[tuple[str, ...]]
    knowledge: KnowledgeFindings | None
    coverage: list[Coverage]
    signal: dict[str, NeighbourQuality]


class Inspected(NamedTuple):
    """Findings, and the data that they were found in.

    Attributes:
        findings: What was found.
        data: Filtered, numbered, split and joined.
    """

    findings: Inspection
    data: RecommendationData


def inspect(module: RecommendationDataModule, *, samples: int = 12) -> Inspected:
    """Reads data as `fit` would, and looks at them as they are; no encoder runs.

    Args:
        module: The data and their settings. Where it has a `dataset` of its own, nothing
            is found that only tables tell, such as times and links.
        samples: Links to draw for a person to check.

    Raises:
        UserFacingError: `fit` could not read the data either.
    """
    raw = module.raw if module.is_made_of_tables else None
    return Inspected(_findings(module, raw, module.unperturbed, samples), module.unperturbed)


def _findings(
    module: RecommendationDataModule, raw: RawData | None, data: RecommendationData, samples: int
) -> Inspection:
    parts = (data.train, data.valid, data.test)
    users, items = (
        np.bincount(np.concatenate([getattr(part, name) for part in parts]), minlength=size)
        for name, size in (("users", len(data.users)), ("items", len(data.items)))
    )
    alike = lookalikes(data.items.ids)
    in_training = np.bincount(data.train.items, minlength=len(data.items))
    of_no_folder = module.root is RecommendationDataModule.root
    return Inspection(
        name=type(module).__name__ if of_no_folder else module.root.resolve().name,
        root=str(module.root),
        settings=module.preparation,
        summary=data.summary,
        notes=raw.notes if raw else (),
        entities=len(data.entities),
        relations=len(data.relations),
        density=len(np.concatenate([part.users for part in parts]))
        / (len(data.users) * len(data.items)),
        given_parts=given_parts(raw) if raw else {},
        in_several_parts=in_several_parts(raw) if raw else 0,
        users=degrees(users),
        items=degrees(items),
        few=int(((in_training > 0) & (in_training < 5)).sum()),
        times=times(raw, data, module.filters) if raw else None,
        lookalikes=len(alike),
        lookalike_examples=alike[:_LOOKALIKES],
        knowledge=knowledge_findings(raw, data, samples, module.split.seed) if raw else None,
        coverage=coverages(data, module.modalities, module.root),
        signal=signals(raw, data, module),
    )
