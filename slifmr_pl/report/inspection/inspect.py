"""Everything that was found in a data folder, and what training does with it."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.dataset import RecommendationData, build_dataset
from slifmr_pl.data.formats.data_folder import read
from slifmr_pl.data.summary import DataSummary
from slifmr_pl.datamodule import SlifMrDataModule
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

_LOOKALIKES = 5  # groups that are named


@dataclass(frozen=True)
class Inspection:
    """What `inspect` prints and writes.

    Attributes:
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
    """

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


class Inspected(NamedTuple):
    """Findings, and the data that they were found in.

    Attributes:
        findings: What was found.
        data: Filtered, numbered, split and joined.
    """

    findings: Inspection
    data: RecommendationData


def inspect(module: SlifMrDataModule, *, samples: int = 12) -> Inspected:
    """Reads a data folder as `fit` would, and looks at it; no encoder runs.

    Args:
        module: The data folder and its settings.
        samples: Links to draw for a person to check.

    Raises:
        UserFacingError: `fit` could not read the folder either.
    """
    raw = read(module.root, module.format)
    data = build_dataset(raw, module.filters, module.split, module.use_knowledge)
    return Inspected(_findings(module, raw, data, samples), data)


def _findings(
    module: SlifMrDataModule, raw: RawData, data: RecommendationData, samples: int
) -> Inspection:
    parts = (data.train, data.valid, data.test)
    users, items = (
        np.bincount(np.concatenate([getattr(part, name) for part in parts]), minlength=size)
        for name, size in (("users", len(data.users)), ("items", len(data.items)))
    )
    alike = lookalikes(data.items.ids)
    in_training = np.bincount(data.train.items, minlength=len(data.items))
    return Inspection(
        root=str(module.root),
        settings={
            "format": getattr(module.format, "settings", module.format),
            "filters": asdict(module.filters),
            "split": asdict(module.split),
            "use_knowledge": module.use_knowledge,
            "modalities": {name: asdict(source) for name, source in module.modalities.items()},
        },
        summary=data.summary,
        notes=raw.notes,
        entities=len(data.entities),
        relations=len(data.relations),
        density=len(np.concatenate([part.users for part in parts]))
        / (len(data.users) * len(data.items)),
        given_parts=given_parts(raw),
        in_several_parts=in_several_parts(raw),
        users=degrees(users),
        items=degrees(items),
        few=int(((in_training > 0) & (in_training < 5)).sum()),
        times=times(raw, data, module.filters),
        lookalikes=len(alike),
        lookalike_examples=alike[:_LOOKALIKES],
        knowledge=knowledge_findings(raw, data, samples, module.split.seed),
        coverage=coverages(data, module.modalities, module.root),
    )
