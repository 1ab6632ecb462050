"""What training will do with what was found, a sentence for each oddity."""

from dataclasses import dataclass
from typing import Literal

from slifmr_pl.report.inspection.inspect import Inspection
from slifmr_pl.report.inspection.knowledge_findings import KnowledgeFindings


@dataclass(frozen=True)
class Note:
    """An oddity.

    Attributes:
        level: "warning" where results may mislead unless a person decides, else "note".
        found: What there is.
        effect: What training does with it, and what else could be done.
    """

    level: Literal["note", "warning"]
    found: str
    effect: str


def notes(findings: Inspection) -> list[Note]:
    """Everything worth knowing before training, warnings first; what does not occur is left out."""
    candidates = [
        *((1.0, Note("warning", c.found, c.effect)) for c in findings.summary.cautions),
        *(
            (1.0, Note("note", found, "said by the reader of the files"))
            for found in findings.notes
        ),
        *_interactions(findings),
        *_split(findings),
        *_catalogue(findings),
        *_knowledge(findings),
        *_modalities(findings),
        *_signal(findings),
    ]
    there = [note for count, note in candidates if count]
    return sorted(there, key=lambda note: note.level != "warning")


_Candidates = list[tuple[float, Note]]


def _note(count: int, found: str, effect: str) -> tuple[float, Note]:
    return count, Note("note", f"{count:,} {found}", effect)


def _warning(count: int, found: str, effect: str) -> tuple[float, Note]:
    return count, Note("warning", f"{count:,} {found}", effect)


def _interactions(findings: Inspection) -> _Candidates:
    summary, filters = findings.summary, findings.settings["filters"]
    return [
        _note(
            summary.below_minimum_rating,
            f"interactions are rated below {filters['minimum_rating'] or 0:g}",
            "left out: they are no positive feedback (data.filters.minimum_rating)",
        ),
        _note(
            summary.duplicates,
            "interactions repeat a pair of user and item",
            "each pair counts once, at its earliest time",
        ),
        _note(
            summary.outside_k_core,
            f"interactions are outside the {filters['k_core']}-core",
            "left out with their users and items (data.filters.k_core)",
        ),
        _warning(
            findings.lookalikes,
            "groups of item ids differ only in case or blanks, such as "
            + "; ".join(" / ".join(map(repr, group)) for group in findings.lookalike_examples[:3]),
            "they are different items to training; mend the ids if they are not",
        ),
    ]


def _split(findings: Inspection) -> _Candidates:
    summary, times = findings.summary, findings.times
    candidates: _Candidates = [
        _warning(
            findings.in_several_parts if summary.given_split_unused else 0,  # else a caution
            "pairs of user and item are in more than one part of the data's own split",
            "each stays in the part of its earliest row, else in the first of train, valid, test",
        ),
        _warning(
            summary.given_split_unused,
            "interactions have a part that the data gives, and it is not used",
            "data.split.strategy: given uses it",
        ),
        _note(
            summary.valid_carved_from_train,
            "interactions were moved from training to validation, of which the data have none",
            "the test part stays as it is given",
        ),
        _warning(
            summary.users_without_train,
            "users have no training interaction",
            "nothing can be learnt of them: they are ranked for at random",
        ),
        _note(
            summary.users_without_test,
            "users have no test interaction",
            "left out of the test, and counted with its result",
        ),
        _note(
            summary.users_without_valid,
            "users have no validation interaction",
            "left out of validation",
        ),
    ]
    if times is not None and times.held_out:
        strategy = findings.settings["split"]["strategy"]
        share = times.before_training / times.held_out
        note = Note(
            "note",
            f"{share:.0%} of the validation and test interactions are older than a training "
            "interaction of the same user",
            f"the split {strategy} lets training see the future: good for comparing models, "
            "optimistic about use; data.split.strategy temporal looks ahead only",
        )
        candidates.append((times.before_training, note))
    return candidates


def _catalogue(findings: Inspection) -> _Candidates:
    summary = findings.summary
    return [
        _note(
            summary.cold_items,
            "items have no training interaction",
            "they compete in every ranking, by what features and knowledge say of them",
        ),
        _note(
            findings.few,
            "items have one to four training interactions",
            "kept; data.filters.k_core would leave them out",
        ),
        _note(
            summary.items_without_metadata,
            "items are not in the item table",
            "masked: they have neither text nor picture",
        ),
        _note(
            summary.metadata_outside_catalogue,
            "rows of the item table are of items without an interaction that counts",
            "left out; data.filters.keep_cold_items keeps them in the catalogue",
        ),
    ]


def _knowledge(findings: Inspection) -> _Candidates:
    knowledge, summary = findings.knowledge, findings.summary.knowledge
    if knowledge is None:
        return []
    collisions = ", ".join(knowledge.collisions[:3])
    return [
        *_links(knowledge),
        _warning(
            knowledge.conflicts,
            "entities have several items linked to them",
            "the item first in order keeps the entity, the others lose the link; see the examples",
        ),
        _warning(
            knowledge.links_without_triples,
            "links lead to entities that no triple mentions",
            "without effect",
        ),
        _note(
            summary.unlinked_items,
            "items have no triple",
            "kept: their knowledge view is empty, the other views carry them",
        ),
        _note(
            summary.links_outside_catalogue,
            "links are of items outside the catalogue",
            "their entities stay in the graph as entities",
        ),
        _note(
            summary.renamed_entities,
            f"entities have the id of an item that they are not, such as {collisions}",
            "told apart: they go by entity:ID",
        ),
        _note(
            knowledge.orphans,
            "entities are in no path to an item",
            "they take memory and reach no score",
        ),
        _note(summary.duplicate_triples, "triples repeat another", "each counts once"),
        _note(summary.self_triples, "triples join an entity with itself", "left out"),
        _note(
            knowledge.items_with_several_entities,
            "items are linked to several entities",
            "the triples of all of them are the item's",
        ),
    ]


def _links(knowledge: KnowledgeFindings) -> _Candidates:
    agreement = knowledge.agreement
    if agreement is None:
        return []
    note = Note(
        "note",
        "items whose facts are alike have no more words in common than any two items "
        f"({agreement.alike:.1%} and {agreement.random:.1%}, {agreement.items} items compared)",
        "graph and texts speak of different things, or links are wrong: see the links to check",
    )
    return [(not agreement.certain, note)]


def _modalities(findings: Inspection) -> _Candidates:
    candidates = []
    for coverage in findings.coverage:
        if coverage.refused:
            note = Note(
                "warning",
                f"{coverage.name} has no source: {coverage.refused}",
                "training refuses the configuration; mend it or the item table",
            )
            candidates.append((1.0, note))
            continue
        candidates.append(
            _note(
                coverage.missing,
                f"items have no {coverage.name}",
                "masked: the other views carry them",
            )
        )
        reasons = "; ".join(
            f"{count} {reason}"
            + (f", such as {coverage.examples[reason]!r}" if reason in coverage.examples else "")
            for reason, count in coverage.unusable.items()
        )
        candidates.append(
            _warning(
                sum(coverage.unusable.values()),
                f"items whose {coverage.name} cannot be used ({reasons})",
                "masked, as if they had none; mend the files to use them",
            )
        )
    return candidates


def _signal(findings: Inspection) -> _Candidates:
    return [
        (
            float(quality.at_chance),
            Note(
                "warning",
                f"neighbours by {name} share users hardly more often than by chance (lift "
                f"{quality.lift:.2f} ± {quality.error:.2f})",
                "training reads the modality all the same; look at its neighbours, try another "
                "encoder, or leave it out",
            ),
        )
        for name, quality in findings.signal.items()
    ]
