"""The routes that answer with lists, and those that tell what answers."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Response
from prometheus_client import CONTENT_TYPE_LATEST

from slifmr_pl import __version__
from slifmr_pl.serving.service import answers
from slifmr_pl.serving.service.observation import Metrics
from slifmr_pl.serving.service.payloads import (
    MAX_BODY,
    MAX_ID,
    BatchAnswer,
    BatchQuestion,
    Filters,
    HistoryQuestion,
    ListAnswer,
    Refusal,
    SimilarAnswer,
    Status,
    UserQuestion,
    Version,
)
from slifmr_pl.serving.service.served_export import ServedExport

_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Refusal, "description": "The key is missing or wrong."},
    501: {"model": Refusal, "description": "An export of this kind cannot answer that."},
}
_TOO_LARGE: dict[int | str, dict[str, Any]] = {
    413: {"description": f"The body has more than {MAX_BODY:,} bytes."}
}
_NO_ITEM: dict[int | str, dict[str, Any]] = {
    404: {"model": Refusal, "description": "The export has no such item."}
}
_UserId = Annotated[str, Path(min_length=1, max_length=MAX_ID, examples=["u0001"])]
_ItemId = Annotated[str, Path(min_length=1, max_length=MAX_ID, examples=["i0001"])]


def list_routes(current: Callable[[], ServedExport], metrics: Metrics) -> APIRouter:
    """Routes that answer with lists.

    Each takes the export once, so that one that is loaded meanwhile changes nothing for it.

    Args:
        current: Gives the export to answer from.
        metrics: What counts lists.
    """
    router = APIRouter(responses=_REFUSALS, tags=["lists"])

    @router.get("/users/{user_id:path}/recommendations", summary="A list for one user")
    def recommendations(user_id: _UserId, question: Annotated[UserQuestion, Query()]) -> ListAnswer:
        """The best items of a user; of one whom training has not seen, what is popular."""
        answer = answers.list_of_user(current(), user_id, question)
        metrics.lists.labels(answer.source).inc()
        return answer

    @router.post("/recommendations", summary="Lists for several users", responses=_TOO_LARGE)
    def batch(question: BatchQuestion) -> BatchAnswer:
        """The best items of each user. Ids of users stay out of addresses, and so out of logs."""
        answer = answers.lists_of_users(current(), question)
        for one in answer.lists:
            metrics.lists.labels(one.source).inc()
        return answer

    @router.post(
        "/histories/recommendations",
        summary="A list for somebody new, from what they have",
        responses=_TOO_LARGE,
    )
    def history(question: HistoryQuestion) -> ListAnswer:
        """The best items for a history; what is popular, where training has seen none of it."""
        answer = answers.list_of_history(current(), question)
        metrics.lists.labels(answer.source).inc()
        return answer

    @router.get("/items/{item_id:path}/similar", summary="Similar items", responses=_NO_ITEM)
    def similar(item_id: _ItemId, question: Annotated[Filters, Query()]) -> SimilarAnswer:
        """The items whose representations have the highest cosine with that of an item."""
        export = current()
        row = export.items.row(item_id)
        if row is None:
            raise HTTPException(404, f"there is no item {item_id!r}")
        answer = answers.similar_items(export, row, question)
        metrics.lists.labels("similar").inc()
        return answer

    return router


def state_routes(current: Callable[[], ServedExport], metrics: Metrics) -> APIRouter:
    """Routes that tell what answers, and how."""
    router = APIRouter(tags=["state"])

    @router.get("/version", summary="What answers", responses={401: _REFUSALS[401]})
    async def version() -> Version:
        """Versions of the service, its export and its data."""
        export = current()
        names = ("model", "checkpoint", "data_fingerprint")
        return Version(
            service=__version__,
            export=export.version,
            loaded_at=export.loaded_at.isoformat(timespec="seconds"),
            users=len(export.users),
            items=len(export.items),
            new_items=export.manifest.get("new_items", 0),
            **{name: export.manifest[name] for name in names},
        )

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={401: _REFUSALS[401]},
    )
    async def prometheus() -> Response:
        """Requests, their times, lists by source, and reloads, in Prometheus' text format."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router


def probe_routes(current: Callable[[], ServedExport]) -> APIRouter:
    """Routes for whatever watches the process, which need no key."""
    router = APIRouter(tags=["state"])

    @router.get("/health", summary="Whether the process answers")
    async def health() -> Status:
        """Always, while it does."""
        return Status()

    @router.get("/ready", summary="Whether lists can be given")
    def ready() -> Status:
        """After a list was made. The port opens once an export is loaded."""
        answers.list_of_user(current(), current().users[0], UserQuestion(k=1))
        return Status()

    return router
