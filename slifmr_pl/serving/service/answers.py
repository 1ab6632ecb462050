"""From a question and an export to an answer, with raw ids on both sides."""

import numpy as np

from slifmr_pl.serving.service.payloads import (
    BatchAnswer,
    BatchQuestion,
    Filters,
    HistoryQuestion,
    ListAnswer,
    Place,
    SimilarAnswer,
    UserList,
    UserQuestion,
)
from slifmr_pl.serving.service.rankings import Ranked
from slifmr_pl.serving.service.served_export import Allowed, ServedExport

_NOTHING = np.empty(0, np.int64)


def lists_of_users(export: ServedExport, question: BatchQuestion) -> BatchAnswer:
    """A list for each user; what is popular for those whom training has not seen."""
    allowed = _allowed(export, question)
    rows = [export.users.row(raw) for raw in question.user_ids]
    known = np.array([row for row in rows if row is not None], np.int64)
    of_known = export.ranking.users(
        known, question.k, allowed.mask, exclude_seen=question.exclude_seen
    )
    popular = []
    if None in rows:
        popular = _places(export, export.popular(question.k, allowed, _NOTHING))
    lists = [
        UserList(user_id=raw, source="popular", items=popular)
        if row is None
        else UserList(user_id=raw, source="model", items=_places(export, next(of_known)))
        for raw, row in zip(question.user_ids, rows, strict=True)
    ]
    return BatchAnswer(export=export.version, ignored=allowed.unknown, lists=lists)


def list_of_user(export: ServedExport, user_id: str, question: UserQuestion) -> ListAnswer:
    """`lists_of_users` of one user."""
    answer = lists_of_users(export, BatchQuestion(user_ids=[user_id], **dict(question)))
    (only,) = answer.lists
    return ListAnswer(
        export=answer.export, ignored=answer.ignored, source=only.source, items=only.items
    )


def list_of_history(export: ServedExport, question: HistoryQuestion) -> ListAnswer:
    """A list for what somebody has; what is popular, where training has seen none of it."""
    allowed = _allowed(export, question)
    known, unknown = export.items.rows(question.item_ids)
    trained = export.trained(known)
    untrained = [export.items[row] for row in known[len(trained) :].tolist()]
    ranked = (
        export.ranking.history(trained, known, question.k, allowed.mask)
        if len(trained)
        else export.popular(question.k, allowed, known)
    )
    return ListAnswer(
        export=export.version,
        ignored=list(dict.fromkeys([*allowed.unknown, *unknown, *untrained])),
        source="model" if len(trained) else "popular",
        items=_places(export, ranked),
    )


def similar_items(export: ServedExport, row: int, question: Filters) -> SimilarAnswer:
    """The items that are most similar to that of a row."""
    allowed = _allowed(export, question)
    ranked = export.ranking.similar(row, question.k, allowed.mask)
    return SimilarAnswer(
        export=export.version, ignored=allowed.unknown, items=_places(export, ranked)
    )


def _allowed(export: ServedExport, question: Filters) -> Allowed:
    return export.allowed(question.candidates, question.blocked, only_new=question.only_new)


def _places(export: ServedExport, ranked: Ranked) -> list[Place]:
    pairs = zip(ranked.items.tolist(), ranked.scores.tolist(), strict=True)
    return [Place(item_id=export.items[row], score=score) for row, score in pairs]
