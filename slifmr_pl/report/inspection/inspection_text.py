"""An inspection as text for a terminal."""

from slifmr_pl.report.inspection.inspect import Inspection
from slifmr_pl.report.inspection.interaction_findings import Degrees
from slifmr_pl.report.inspection.notes import notes


def as_text(findings: Inspection) -> str:
    """A short report: what there is, and what training does with what is odd."""
    summary = findings.summary
    lines = [
        str(summary),
        f"{findings.density:.3%} of all pairs interacted",
        f"interactions of a user: {_degrees(findings.users)}",
        f"interactions of an item: {_degrees(findings.items)}",
    ]
    if findings.times is not None:
        lines.append(f"from {findings.times.first} to {findings.times.last}")
    if findings.knowledge is not None:
        names = [relation.name for relation in findings.knowledge.relations[:3]]
        lines.append(
            f"{findings.relations} relations (most triples: {', '.join(names)}); "
            f"{findings.entities - summary.items:,} entities besides the items"
        )
    lines += [
        f"{coverage.name}: {coverage.present:,} of {coverage.items:,} items "
        f"({coverage.present / coverage.items:.1%}), {coverage.source}"
        for coverage in findings.coverage
    ]
    lines += [f"{name}, nearest neighbours: {quality}" for name, quality in findings.signal.items()]
    lines.append("")
    for note in notes(findings):
        mark = "!" if note.level == "warning" else "-"
        lines.append(f"{mark} {note.found}\n    {note.effect}")
    return "\n".join(lines)


def _degrees(degrees: Degrees) -> str:
    return f"{degrees.minimum:,} to {degrees.maximum:,}, half have at most {degrees.median:g}"
