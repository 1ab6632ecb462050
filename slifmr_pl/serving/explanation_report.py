"""Explanations with raw ids: as plain types, and as tables."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.explanation import Explanation, ScoreShare
from slifmr_pl.serving.reasons import Reason

_MEANINGS = {
    "own": "what training has learned of it alone",
    "item": "items of the user",
    "fused": "the mean of the user's fused items",
    "user": "users of the item",
    "modality": "items with similar {view}",
    "missing": "what training has learned of items without {view}",
    "fact": "facts of the knowledge graph",
    "regression": "items of the user that go with this one",
    "correlation": "similar items by the self-loop, in the {view} view",
    "view": "the view {view}",
}
_SHOWN = 5e-5  # what is less than this would be printed as zero
_OTHER_MEANING = "{kind}, in the view {view}"  # kinds that a view of the user's own gives


def as_dict(
    explanation: Explanation,
    catalogue: Catalogue,
    user_id: str,
    item_id: str,
    titles: Mapping[str, str],
    why: Sequence[Reason] = (),
) -> dict[str, Any]:
    """The explanation as JSON types.

    Args:
        explanation: Of the score.
        catalogue: Raw ids of its rows.
        user_id: Whose.
        item_id: Of what.
        titles: What people call items, by id; of all, some or none.
        why: The items of the user that raise the score most.

    Returns:
        `user`, `item`, `title` of the item, `score`; `sentence`, and `reasons`, the items that it
        names, each with `id`, `title`, `score`, `ties`; and for `user_side` and `item_side` the
        shares of each kind and all parts: `kind`, `view`, `id` of the user, item or entity, `title`
        of an item, `relation` of a fact (`^r` for the inverse direction), `score`.
    """
    named = catalogue.items.decode([reason.item for reason in why])
    reasons = [
        {"id": name, "title": titles.get(name), "score": reason.score, "ties": reason.ties}
        for name, reason in zip(named, why, strict=True)
    ]
    content: dict[str, Any] = {
        "user": user_id,
        "item": item_id,
        "title": titles.get(item_id),
        "score": explanation.score,
        "sentence": _sentence(reasons),
        "reasons": reasons,
    }
    for side in ("user", "item"):
        parts: list[ScoreShare] = getattr(explanation, f"{side}_parts")
        totals: dict[tuple[str, str], float] = defaultdict(float)
        for part in parts:
            totals[part.kind, part.view] += part.score
        content[f"{side}_side"] = {
            "kinds": [
                {"kind": kind, "view": view, "score": score}
                for (kind, view), score in sorted(totals.items(), key=lambda entry: -abs(entry[1]))
            ],
            "parts": [_named(part, catalogue, titles) for part in parts],
        }
    return content


def _sentence(reasons: list[dict[str, Any]]) -> str:
    """The reasons in words."""
    if not reasons:
        return "No item of the user raises it: it comes from what training learned of both alone."
    each = [
        _label(reason["id"], reason["title"])
        + (f": {', '.join(reason['ties'])}" if reason["ties"] else "")
        for reason in reasons
    ]
    total = sum(reason["score"] for reason in reasons)
    return f"Because of {'; and of '.join(each)}. This makes {total:.4f} of it."


def _named(part: ScoreShare, catalogue: Catalogue, titles: Mapping[str, str]) -> dict[str, Any]:
    name = relation = None
    if part.row is not None:
        vocabulary = {"user": catalogue.users, "fact": catalogue.entities}.get(
            part.kind, catalogue.items
        )
        (name,) = vocabulary.decode([part.row])
    if part.relation is not None:
        n_relations = len(catalogue.relations)
        (relation,) = catalogue.relations.decode([part.relation % n_relations])
        relation = "^" * (part.relation >= n_relations) + relation
    return {
        "kind": part.kind,
        "view": part.view,
        "id": name,
        "title": None if name is None or part.kind == "user" else titles.get(name),
        "relation": relation,
        "score": part.score,
    }


def print_explanation(content: dict[str, Any], top: int, console: Console) -> None:
    """Prints what `as_dict` gave: the sentence, then what is not zero, kind by kind.

    Args:
        content: The explanation.
        top: Parts shown of each kind.
        console: Where to.
    """
    item = _label(content["item"], content["title"])
    head = f"User {content['user']}, item {item}: score {content['score']:.4f}"
    console.print(escape(head), highlight=False)
    console.print(escape(content["sentence"]), highlight=False, soft_wrap=True)
    for side in ("user", "item"):
        table = Table(title=f"\nWhat the {side}'s side is made of", title_justify="left")
        table.add_column("share", justify="right")
        table.add_column("by way of")
        for kind in _not_zero(content[f"{side}_side"]["kinds"]):
            meaning = _MEANINGS.get(kind["kind"], _OTHER_MEANING).format(**kind)
            table.add_row(f"{kind['score']:+.4f}", meaning, style="bold")
            parts = [
                part
                for part in content[f"{side}_side"]["parts"]
                if part["id"] and (part["kind"], part["view"]) == (kind["kind"], kind["view"])
            ]
            for part in _not_zero(parts[:top]):
                relation = f"{part['relation']} " if part["relation"] else ""
                name = _label(part["id"], part["title"])
                table.add_row(f"{part['score']:+.4f}", escape(f"  {relation}{name}"))
            rest = {"score": sum(part["score"] for part in parts[top:])}
            for _ in _not_zero([rest]):
                table.add_row(f"{rest['score']:+.4f}", f"  {len(parts[top:])} more")
        console.print(table)


def _not_zero(shares: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [share for share in shares if abs(share["score"]) >= _SHOWN]


def _label(name: str, title: str | None) -> str:
    return f"{name} ({title})" if title else name
