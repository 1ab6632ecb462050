"""What ties two items: known of a drawn catalogue, and only what raises the score."""

import torch

from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.data.interactions import Interactions
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.explanation import Explanation, ScoreShare
from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph
from slifmr_pl.graphs.triples import DirectedTriples
from slifmr_pl.serving.reasons import reasons

NO_ROWS = torch.empty(0, dtype=torch.int64).numpy()


def catalogue() -> Catalogue:
    items = ["scored", "bought", "other"]
    return Catalogue(
        Vocabulary(["u", "v", "w"]),
        Vocabulary(items),
        Vocabulary([*items, "Kurosawa"]),
        Vocabulary(["director", "sequel_of"]),
        Interactions(NO_ROWS, NO_ROWS),
    )


def graph() -> HeterogeneousGraph:
    """Both films are of one director; two users have the scored and the bought one."""
    heads, relations, tails = torch.tensor([[0, 0, 3], [1, 0, 3], [2, 1, 0]]).T
    return HeterogeneousGraph(
        n_users=3,
        n_items=3,
        users=torch.tensor([0, 0, 1, 1, 2]),
        items=torch.tensor([0, 1, 0, 1, 2]),
        triples=DirectedTriples.bidirectional(heads, relations, tails, 4, 2),
    )


def share(kind: str, row: int, score: float, relation: int | None = None) -> ScoreShare:
    return ScoreShare(kind, "text" if kind == "modality" else "interaction", row, relation, score)


BOUGHT = [share("item", 1, 0.3), share("regression", 1, 0.5), share("item", 2, 0.2)]


def ties(*parts: ScoreShare, of: int = 1) -> list[str]:
    found = reasons(Explanation(1.0, BOUGHT, list(parts)), graph(), catalogue(), item=0, most=2)
    return next(reason.ties for reason in found if reason.item == of)


def test_items_of_the_user_come_by_what_they_add_in_all() -> None:
    found = reasons(Explanation(1.0, BOUGHT, []), graph(), catalogue(), item=0, most=2)
    assert [(reason.item, round(reason.score, 6)) for reason in found] == [(1, 0.8), (2, 0.2)]


def test_a_shared_fact_is_named_where_it_raises_the_score() -> None:
    assert ties(share("fact", 3, 0.1, relation=0)) == ["same director", "2 users have both"]
    assert ties(share("fact", 3, -0.1, relation=0)) == ["2 users have both"]


def test_a_fact_about_the_other_item_and_similar_features_are_named() -> None:
    parts = share("fact", 2, 0.1, relation=3), share("modality", 2, 0.1)
    assert ties(*parts, of=2) == ["linked by sequel_of", "similar text"]


def test_an_item_that_lowers_the_score_is_no_reason() -> None:
    lowers = Explanation(1.0, [share("item", 1, -0.3)], [])
    assert reasons(lowers, graph(), catalogue(), item=0, most=2) == []
