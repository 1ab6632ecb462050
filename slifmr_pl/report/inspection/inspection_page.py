"""An inspection as a page."""

from pathlib import Path

from slifmr_pl.report.html.figures import Bar, bars, curves, figures
from slifmr_pl.report.html.html import Html, concatenated, element, paragraph, table
from slifmr_pl.report.html.item_cards import ItemCards
from slifmr_pl.report.html.page import Section, page
from slifmr_pl.report.inspection.inspect import Inspected, Inspection
from slifmr_pl.report.inspection.interaction_findings import Degrees
from slifmr_pl.report.inspection.knowledge_findings import KnowledgeFindings
from slifmr_pl.report.inspection.notes import notes

_RELATIONS = 20  # that the figure shows


def as_page(inspected: Inspected) -> Html:
    """The whole page."""
    findings, data = inspected.findings, inspected.data
    cards = ItemCards(data.items, data.item_table, Path(findings.root))
    sections = [
        Section("What training does with it", notes_section(findings)),
        Section("Sizes", sizes_section(findings)),
        Section("How interactions spread", _spread(findings)),
        Section("Pictures and texts", _coverage(findings)),
    ]
    if findings.knowledge is not None:
        sections.append(Section("Knowledge graph", _knowledge(findings, findings.knowledge)))
        sections.append(Section("Links to check", _links(inspected, findings.knowledge, cards)))
    summary = findings.summary
    lead = (
        f"{summary.users:,} users, {summary.items:,} items and {summary.interactions:,} "
        f"interactions of {findings.name}, read as training would read them."
    )
    return page(f"Data of {findings.name}", lead, sections)


def notes_section(findings: Inspection) -> Html:
    """Oddities, and what training does with them."""
    oddities = notes(findings)
    if not oddities:
        return paragraph("Nothing odd was found.")
    entries = [
        element(
            "li",
            element("b", "Decide: ") if note.level == "warning" else "",
            note.found,
            element("span", note.effect, class_="effect"),
            class_=note.level,
        )
        for note in oddities
    ]
    return element("ul", *entries, class_="findings")


def sizes_section(findings: Inspection) -> Html:
    """Numbers of everything."""
    summary, knowledge = findings.summary, findings.summary.knowledge
    rows = [
        ("users", summary.users),
        ("items", summary.items),
        ("interactions read", summary.interactions_read),
        ("interactions kept", summary.interactions),
        ("of them training", summary.train),
        ("of them validation", summary.valid),
        ("of them test", summary.test),
    ]
    if findings.knowledge is not None:
        rows += [
            ("entities besides items", findings.entities - summary.items),
            ("relations", findings.relations),
            ("triples", knowledge.triples),
        ]
    cells = [(name, f"{count:,}") for name, count in rows]
    cells.append(("density", f"{findings.density:.3%}"))
    if findings.times is not None:
        cells += [("first interaction", findings.times.first)]
        cells += [("last interaction", findings.times.last)]
    cells += [(f"given as {name}", f"{count:,}") for name, count in findings.given_parts.items()]
    return table("Sizes after filtering", ("", "number"), cells)


def _spread(findings: Inspection) -> Html:
    of = {"users": findings.users, "items": findings.items}
    cells = {
        "fewest": [f"{d.minimum:,}" for d in of.values()],
        "half have at most": [f"{d.median:,g}" for d in of.values()],
        "mean": [f"{d.mean:,.1f}" for d in of.values()],
        "90 % have at most": [f"{d.ninety:,g}" for d in of.values()],
        "most": [f"{d.maximum:,}" for d in of.values()],
    }
    figure = curves(
        {name: _curve(degrees) for name, degrees in of.items()},
        "Share of users and of items with at least so many interactions",
        "Both curves fall from the left to the right. "
        + " ".join(
            f"Half of the {name} have at most {d.median:g} interactions, one has {d.maximum}."
            for name, d in of.items()
        ),
        x="interactions",
        y="share",
        log=True,
    )
    rows = [(name, *values) for name, values in cells.items()]
    return figures(figure, table("Interactions", ("", "of a user", "of an item"), rows))


def _curve(degrees: Degrees) -> tuple[list[float], list[float]]:
    points = [(float(n), share) for n, share in degrees.at_least if share > 0]
    return [n for n, _ in points], [share for _, share in points]


def _coverage(findings: Inspection) -> Html:
    if not findings.coverage:
        return paragraph("There is no item table, and no feature store is configured.")
    rows = [
        (
            c.name,
            c.source,
            f"{c.present:,}",
            f"{c.present / c.items:.1%}",
            f"{c.missing:,}",
            "; ".join(
                f"{count:,} {reason}, such as {c.examples[reason]}"
                if reason in c.examples
                else f"{count:,} {reason}"
                for reason, count in c.unusable.items()
            )
            or "none",
        )
        for c in findings.coverage
    ]
    header = ("modality", "source", "items with it", "share", "without an entry", "of no use")
    checked = [
        paragraph(
            f"{c.decoded:,} pictures of {c.name} were decoded; the others were only looked for."
        )
        for c in findings.coverage
        if c.decoded is not None and c.decoded < c.items - c.missing
    ]
    covered = table("Items of the catalogue", header, rows, numbers=False)
    return concatenated([covered, *checked, *_signal(findings)])


def _signal(findings: Inspection) -> list[Html]:
    if not findings.signal:
        return []
    rows = [
        (
            name,
            f"{quality.lift:.2f} ± {quality.error:.2f}",
            f"{quality.orphans:.1%}",
            f"{quality.largest_hub:,}",
        )
        for name, quality in findings.signal.items()
    ]
    header = ("modality", "lift", "nobody's neighbour", "largest hub")
    return [
        table("Nearest neighbours by features", header, rows),
        paragraph(
            "Lift: how much more often an item and its ten nearest neighbours share training "
            "users than items of the same popularity by chance, which is 1. Nobody's neighbour: "
            "items that are in no other item's neighbours. Largest hub: items that have the same "
            "item as a neighbour."
        ),
    ]


def _knowledge(findings: Inspection, knowledge: KnowledgeFindings) -> Html:
    summary = findings.summary.knowledge
    shown = knowledge.relations[:_RELATIONS]
    figure = bars(
        [Bar(relation.name, 100 * relation.share) for relation in shown],
        "Items of the catalogue that a relation says something of",
        "; ".join(f"{relation.name} {relation.share:.0%}" for relation in shown),
        x="% of the items",
    )
    relations = table(
        "Relations",
        ("relation", "triples", "items", "share of items"),
        [(r.name, f"{r.triples:,}", f"{r.items:,}", f"{r.share:.1%}") for r in knowledge.relations],
    )
    reach = table(
        "Entities besides the items",
        ("", "number"),
        [
            ("one step from an item", f"{knowledge.next_to_items:,}"),
            ("further away", f"{knowledge.further:,}"),
            ("in no path to an item", f"{knowledge.orphans:,}"),
        ],
    )
    linked = paragraph(
        f"{summary.linked_items:,} of {findings.summary.items:,} items occur in a triple."
    )
    return concatenated([linked, figures(figure, reach), relations])


def _links(inspected: Inspected, knowledge: KnowledgeFindings, cards: ItemCards) -> Html:
    def title(item: str) -> str:
        text = cards.title(int(inspected.data.items.encode([item])[0]))
        return item if text == item else f"{text} ({item})"

    rows = [
        (
            title(sample.item),
            ", ".join(sample.entities),
            "; ".join(title(item) for item in sample.alike) or "none",
            "; ".join(sample.facts),
        )
        for sample in knowledge.samples
    ]
    agreement = knowledge.agreement
    measured = (
        "There are no texts, or too few items that share a fact, to compare."
        if agreement is None
        else f"Measured on {agreement.items} items: an item and the one whose facts are most alike "
        f"have {agreement.alike:.1%} of their words in common; an item and any other, "
        f"{agreement.random:.1%}."
    )
    parts = [
        paragraph(
            "Link files map some items wrongly, and nobody notices. Do the items that share the "
            "rarest facts with an item look like it? If not, look at its link."
        ),
        paragraph(measured),
        table(
            "Items drawn at random",
            ("item", "entity", "most alike by facts", "some of its facts"),
            rows,
            numbers=False,
        ),
    ]
    if knowledge.conflict_examples:
        conflicts = [
            (c.entity, title(c.keeps), "; ".join(map(title, c.loses)))
            for c in knowledge.conflict_examples
        ]
        caption = f"Entities with several items: {len(conflicts)} of {knowledge.conflicts}"
        header = ("entity", "item that keeps it", "items that lose the link")
        parts.append(table(caption, header, conflicts, numbers=False))
    return concatenated(parts)
