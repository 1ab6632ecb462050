"""Drawing the whole demo catalogue in memory, before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slifmr_pl.demo.factors import DemoLatents, draw_activity, draw_choices, draw_latents
from slifmr_pl.demo.facts import Triple, build_triples
from slifmr_pl.demo.product_pictures import GREY_PALETTE
from slifmr_pl.demo.product_texts import FOREIGN, ProductText, write_text

SIDES = (48, 64, 80, 96, 128)
FIRST_TIMESTAMP = 1_700_000_000
TIMESPAN = 2 * 365 * 24 * 3600
# Share of the items that are special in each way; at least one, and no item in two ways.
SPECIAL_SHARES: Mapping[str, float] = {
    "cold": 0.03,
    "no_image_cell": 0.01,
    "image_file_absent": 0.01,
    "corrupt": 0.0,
    "unlinked": 0.02,
    "no_description": 0.0125,
    "no_text": 0.0075,
    "long": 0.06,
    **{f"language_{language}": 0.0175 for language in FOREIGN},
}


@dataclass(frozen=True)
class PicturePlan:
    """How one picture is to be drawn: path below the root, Pillow mode, width in pixels."""

    path: str
    mode: str
    side: int


@dataclass(frozen=True)
class DemoCatalogue:
    """Everything but the pixels of the demo catalogue.

    Attributes:
        latents: Factors of items and users.
        special: For each key of ``SPECIAL_SHARES`` the sorted int64 rows of its items.
        pictures: One plan for each item, also for those whose picture is left out.
        texts: Title and description of each item.
        triples: The knowledge graph, in raw ids.
        interactions: User id, item id and timestamp in seconds, in the order of time.
    """

    latents: DemoLatents
    special: Mapping[str, NDArray[np.int64]]
    pictures: Sequence[PicturePlan]
    texts: Sequence[ProductText]
    triples: Sequence[Triple]
    interactions: Sequence[tuple[str, str, int]]


def item_id(item: int) -> str:
    """Raw id of an item row."""
    return f"i{item:04d}"


def most_activity(n_items: int) -> int:
    """Most interactions of one user: half of the items, so that there is something to rank."""
    return n_items // 2


def draw_catalogue(seed: int, n_users: int, n_items: int, n_interactions: int) -> DemoCatalogue:
    """Draw latents, special items, pictures to be, texts, knowledge and interactions."""
    # One stream for each part, so that a change in one leaves the others as they are.
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(6)]
    for_latents, for_special, for_pictures, for_texts, for_knowledge, for_choices = streams
    latents = draw_latents(n_users, n_items, for_latents)
    special = _draw_special(n_items, for_special)

    warm = np.setdiff1d(np.arange(n_items), special["cold"])
    activity = draw_activity(n_users, n_interactions, most=most_activity(n_items), rng=for_choices)
    choices = draw_choices(latents, activity, warm, for_choices)
    return DemoCatalogue(
        latents=latents,
        special=special,
        pictures=_plan_pictures(latents.codes["visual"], for_pictures),
        texts=_write_texts(latents.codes["text"], special, for_texts),
        triples=build_triples(latents.codes["knowledge"], for_knowledge),
        interactions=_order_in_time(choices, for_choices),
    )


def _draw_special(n_items: int, rng: np.random.Generator) -> dict[str, NDArray[np.int64]]:
    sizes = [max(1, round(share * n_items)) for share in SPECIAL_SHARES.values()]
    parts = np.split(rng.permutation(n_items), np.cumsum(sizes))
    return {name: np.sort(part) for name, part in zip(SPECIAL_SHARES, parts, strict=False)}


def _plan_pictures(codes: NDArray[np.int64], rng: np.random.Generator) -> list[PicturePlan]:
    pictures = []
    for item, palette in enumerate(codes[:, 0].tolist()):
        # Grey storage loses the hue, so only the palette without one is stored so.
        mode = (
            "L"
            if palette == GREY_PALETTE
            else rng.choice(["RGB", "RGBA", "P"], p=[0.7, 0.16, 0.14])
        )
        jpeg = mode in {"RGB", "L"} and rng.random() < 0.3
        path = f"images/{item_id(item)}.{'jpg' if jpeg else 'png'}"
        pictures.append(PicturePlan(path, str(mode), int(rng.choice(SIDES))))
    return pictures


def _write_texts(
    codes: NDArray[np.int64], special: Mapping[str, NDArray[np.int64]], rng: np.random.Generator
) -> list[ProductText]:
    language_of = {
        item: language for language in FOREIGN for item in special[f"language_{language}"].tolist()
    }
    long, silent, titled = (
        set(special[name].tolist()) for name in ("long", "no_text", "no_description")
    )
    texts = []
    for item, values in enumerate(codes.tolist()):
        text = write_text(
            tuple(values), language=language_of.get(item, "en"), long=item in long, rng=rng
        )
        if item in silent:
            text = ProductText("", "")
        elif item in titled:
            text = ProductText(text.title, "")
        texts.append(text)
    return texts


def _order_in_time(
    choices: Sequence[NDArray[np.int64]], rng: np.random.Generator
) -> list[tuple[str, str, int]]:
    """Give every interaction its own second, in the order of each user's choices."""
    users = rng.permutation(np.repeat(np.arange(len(choices)), [len(row) for row in choices]))
    seconds = np.sort(rng.choice(TIMESPAN, size=len(users), replace=False)) + FIRST_TIMESTAMP
    queues = [iter(row.tolist()) for row in choices]
    return [
        (f"u{user:04d}", item_id(next(queues[user])), second)
        for user, second in zip(users.tolist(), seconds.tolist(), strict=True)
    ]
