"""Explanations with raw ids: as plain types, and as tables."""

from collections import defaultdict
from typing import Any

from rich.console import Console
from rich.table import Table

from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.serving.explanation import Explanation, Part

_MEANINGS = {
    "own": "what training has learned of it alone",
    "item": "items of the user",
    "fused": "the mean of the user's fused items",
    "user": "users of the item",
    "modality": "items with similar {view}",
    "fact": "facts of the knowledge graph",
    "correlation": "similar items by the self-loop, in the {view} view",
}


def as_dict(
    explanation: Explanation, catalogue: Catalogue, user_id: str, item_id: str
) -> dict[str, Any]:
    """The explanation as JSON types.

    Returns:
        `user`, `item`, `score`, and for either side the shares of each kind and all parts:
        `kind`, `view`, `id` of the user, item or entity, `relation` of a fact (`^r` for the
        inverse direction), `score`.
    """
    content: dict[str, Any] = {"user": user_id, "item": item_id, "score": explanation.score}
    for side in ("user", "item"):
        parts: list[Part] = getattr(explanation, f"{side}_parts")
        totals: dict[tuple[str, str], float] = defaultdict(float)
        for part in parts:
            totals[part.kind, part.view] += part.score
        content[f"{side}_side"] = {
            "kinds": [
                {"kind": kind, "view": view, "score": score}
                for (kind, view), score in sorted(totals.items(), key=lambda entry: -abs(entry[1]))
            ],
            "parts": [_named(part, catalogue) for part in parts],
        }
    return content


def _named(part: Part, catalogue: Catalogue) -> dict[str, Any]:
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
        "relation": relation,
        "score": part.score,
    }


def print_explanation(content: dict[str, Any], top: int, console: Console) -> None:
    """Prints what `as_dict` gave.

    Args:
        content: The explanation.
        top: Parts shown of each side.
        console: Where to.
    """
    console.print(f"User {content['user']}, item {content['item']}: score {content['score']:.4f}")
    for side in ("user", "item"):
        shares = Table(title=f"\nFrom the {side}'s side", title_justify="left")
        shares.add_column("share", justify="right")
        shares.add_column("by way of")
        for entry in content[f"{side}_side"]["kinds"]:
            meaning = _MEANINGS[entry["kind"]].format(view=entry["view"])
            shares.add_row(f"{entry['score']:+.4f}", meaning)
        console.print(shares)
        parts = content[f"{side}_side"]["parts"]
        table = Table()
        table.add_column("share", justify="right")
        for name in ("kind", "view", "id", "relation"):
            table.add_column(name)
        for part in parts[:top]:
            table.add_row(
                f"{part['score']:+.4f}",
                *(part[name] or "" for name in ("kind", "view", "id", "relation")),
            )
        if len(parts) > top:
            rest = sum(part["score"] for part in parts[top:])
            table.add_row(f"{rest:+.4f}", f"{len(parts) - top} more")
        console.print(table)
