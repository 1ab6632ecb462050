"""Explanations with raw ids: as plain types, and as tables."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.explanation import Explanation, ScoreShare

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
_OTHER_MEANING = "{kind}, in the view {view}"  # kinds that a view of the user's own gives


def as_dict(
    explanation: Explanation,
    catalogue: Catalogue,
    user_id: str,
    item_id: str,
    titles: Mapping[str, str],
) -> dict[str, Any]:
    """The explanation as JSON types.

    Args:
        explanation: Of the score.
        catalogue: Raw ids of its rows.
        user_id: Whose.
        item_id: Of what.
        titles: What people call items, by id; of all, some or none.

    Returns:
        `user`, `item`, `title` of the item, `score`, and for `user_side` and `item_side` the shares
        of each kind and all parts: `kind`, `view`, `id` of the user, item or entity, `title` of an
        item, `relation` of a fact (`^r` for the inverse direction), `score`.
    """
    content: dict[str, Any] = {
        "user": user_id,
        "item": item_id,
        "title": titles.get(item_id),
        "score": explanation.score,
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
    """Prints what `as_dict` gave, kind by kind.

    Args:
        content: The explanation.
        top: Parts shown of each kind.
        console: Where to.
    """
    item = _label(content["item"], content["title"])
    head = f"User {content['user']}, item {item}: score {content['score']:.4f}"
    console.print(escape(head), highlight=False)
    for side in ("user", "item"):
        table = Table(title=f"\nWhat the {side}'s side is made of", title_justify="left")
        table.add_column("share", justify="right")
        table.add_column("by way of")
        for kind in content[f"{side}_side"]["kinds"]:
            meaning = _MEANINGS.get(kind["kind"], _OTHER_MEANING).format(**kind)
            table.add_row(f"{kind['score']:+.4f}", meaning, style="bold")
            parts = [
                part
                for part in content[f"{side}_side"]["parts"]
                if part["id"] and (part["kind"], part["view"]) == (kind["kind"], kind["view"])
            ]
            for part in parts[:top]:
                relation = f"{part['relation']} " if part["relation"] else ""
                name = _label(part["id"], part["title"])
                table.add_row(f"{part['score']:+.4f}", escape(f"  {relation}{name}"))
            if rest := parts[top:]:
                score = sum(part["score"] for part in rest)
                table.add_row(f"{score:+.4f}", f"  {len(rest)} more")
        console.print(table)


def _label(name: str, title: str | None) -> str:
    return f"{name} ({title})" if title else name
