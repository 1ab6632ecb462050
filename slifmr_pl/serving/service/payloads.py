"""Questions and answers of the service, as OpenAPI describes them, and the limits of both."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_K = 1000
MAX_USERS = 256
MAX_HISTORY = 1000
MAX_FILTER = 10_000
MAX_ID = 512
MAX_BODY = 1 << 20  # bytes

Id = Annotated[str, Field(min_length=1, max_length=MAX_ID)]
"""A raw id, as the data have it."""


class Filters(BaseModel):
    """What may be listed. Ids that the export does not know are ignored, and the answer says so."""

    model_config = ConfigDict(extra="forbid")

    k: int = Field(
        default=20, ge=1, le=MAX_K, description="Items a list; fewer where fewer are left."
    )
    candidates: list[Id] | None = Field(
        default=None,
        max_length=MAX_FILTER,
        description="Ids of the items that alone may be listed; without it, all may.",
    )
    blocked: list[Id] = Field(
        default=[],
        max_length=MAX_FILTER,
        description="Ids of items that may not be listed, candidates or not.",
        examples=[["i0007"]],
    )
    only_new: bool = Field(
        default=False, description="List nothing but the items that came after training."
    )


class UserQuestion(Filters):
    """A list for one user."""

    exclude_seen: bool = Field(
        default=True, description="Leave out what the user has interacted with."
    )


class BatchQuestion(UserQuestion):
    """Lists for several users, under the same filters."""

    user_ids: list[Id] = Field(
        min_length=1,
        max_length=MAX_USERS,
        description="A list comes for each, in this order.",
        examples=[["u0001", "u0002"]],
    )


class HistoryQuestion(Filters):
    """A list for somebody whom training has not seen, from what they have."""

    item_ids: list[Id] = Field(
        min_length=1,
        max_length=MAX_HISTORY,
        description="What they have; none of it comes back.",
        examples=[["i0001", "i0042"]],
    )


class Place(BaseModel):
    """One place of a list."""

    item_id: str = Field(examples=["i0123"])
    score: float = Field(
        description="Of the model; of similar items the cosine, of popular ones their users.",
        examples=[3.61],
    )


Source = Literal["model", "popular"]
_SOURCE = Field(
    description="`model`; `popular` for somebody of whom nothing is known: the items that most "
    "users have."
)


class Answer(BaseModel):
    """What every answer with lists says."""

    export: str = Field(description="Version of the export.", examples=["1f0c9a7d5e21"])
    ignored: list[str] = Field(
        description="Item ids of the question that had no effect, because the export does not "
        "know them or, in a history, training has not seen them.",
        examples=[["i9999"]],
    )


class ListAnswer(Answer):
    """One list, best first."""

    source: Source = _SOURCE
    items: list[Place]


class UserList(BaseModel):
    """The list of one user of several, best first."""

    user_id: str = Field(examples=["u0001"])
    source: Source = _SOURCE
    items: list[Place]


class BatchAnswer(Answer):
    """A list for each user, in the order of the question."""

    lists: list[UserList]


class SimilarAnswer(Answer):
    """Similar items, most similar first."""

    items: list[Place]


class Version(BaseModel):
    """What answers."""

    service: str = Field(description="Version of slifmr_pl.")
    export: str = Field(description="Version of the export.")
    loaded_at: str = Field(description="When the export was loaded, UTC, ISO 8601.")
    model: str = Field(description="Class of the model.")
    checkpoint: str = Field(description="File that was exported.")
    data_fingerprint: str
    users: int
    items: int
    new_items: int = Field(description="Items that came after training, of `items`.")


class Status(BaseModel):
    """That a probe is answered."""

    status: Literal["ok"] = "ok"


class Refusal(BaseModel):
    """Why a question is not answered."""

    detail: str = Field(examples=["there is no item 'i9999'"])
