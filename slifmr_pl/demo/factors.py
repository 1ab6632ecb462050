"""Latent factors of the demo catalogue, and the choices that users make by them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slifmr_pl.demo.facts import KNOWLEDGE_SIZES
from slifmr_pl.demo.product_pictures import VISUAL_SIZES
from slifmr_pl.demo.product_texts import TEXT_SIZES

# Attributes of each block with their number of values. Blocks are drawn independently.
BLOCKS: Mapping[str, Mapping[str, int]] = {
    "visual": VISUAL_SIZES,
    "text": TEXT_SIZES,
    "knowledge": KNOWLEDGE_SIZES,
}
# Standard deviation of a user's taste for one value of each attribute. Picture, text and knowledge
# weigh about alike; the attributes that untrained encoders tell apart worst count least.
TASTE: Mapping[str, float] = {
    "palette": 1.6,
    "shape": 1.2,
    "pattern": 0.4,
    "style": 1.7,
    "material": 1.0,
    "occasion": 0.3,
    "mood": 0.3,
    "brand": 1.6,
    "category": 1.0,
}
PRIVATE_SIZE = 4
PRIVATE_TASTE = 0.3
LEAST_ACTIVITY = 8
POPULARITY_SPREAD = 0.4
# Utility against noise. Higher values make co-occurrence alone tell nearly everything.
SHARPNESS = 0.65


@dataclass(frozen=True)
class DemoLatents:
    """The truth behind the demo catalogue, for tests; never written to disk.

    Attributes:
        codes: For each block ``[I, attributes]`` int64: the value of every attribute.
        items: For each block, and ``private``, ``[I, d_block]`` float64 item factors.
        users: For the same keys ``[U, d_block]`` float64 user preferences. The utility of an item
            is the sum of the products of the blocks, plus its popularity.
        popularity: ``[I]`` float64.
    """

    codes: Mapping[str, NDArray[np.int64]]
    items: Mapping[str, NDArray[np.float64]]
    users: Mapping[str, NDArray[np.float64]]
    popularity: NDArray[np.float64]


def draw_latents(n_users: int, n_items: int, rng: np.random.Generator) -> DemoLatents:
    """Draw attributes, factors and preferences; equal shares of each attribute's values."""
    codes, items = {}, {}
    for block, sizes in BLOCKS.items():
        columns = [rng.permutation(np.arange(n_items) % size) for size in sizes.values()]
        codes[block] = np.stack(columns, axis=1)
        one_hot = [
            TASTE[name] * (column[:, None] == np.arange(size))
            for (name, size), column in zip(sizes.items(), columns, strict=True)
        ]
        items[block] = np.concatenate(one_hot, axis=1)
    items["private"] = PRIVATE_TASTE * rng.normal(size=(n_items, PRIVATE_SIZE))
    users = {name: rng.normal(size=(n_users, table.shape[1])) for name, table in items.items()}
    return DemoLatents(codes, items, users, POPULARITY_SPREAD * rng.normal(size=n_items))


def draw_activity(
    n_users: int, n_interactions: int, *, most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Share interactions among users with a long tail.

    Returns:
        ``[U]`` int64 from ``LEAST_ACTIVITY`` to ``most``, with sum ``n_interactions``.
    """
    zeal = rng.lognormal(sigma=0.7, size=n_users)
    counts = np.full(n_users, LEAST_ACTIVITY, dtype=np.int64)
    while (rest := n_interactions - int(counts.sum())) > 0:
        open_zeal = np.where(counts < most, zeal, 0.0)
        counts = np.minimum(counts + rng.multinomial(rest, open_zeal / open_zeal.sum()), most)
    return counts


def draw_choices(
    latents: DemoLatents,
    activity: NDArray[np.int64],
    warm: NDArray[np.int64],
    rng: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """Let every user choose items without replacement, by softmax over their utilities.

    Adding Gumbel noise and taking the top n is sampling without replacement from the softmax
    (Gumbel-top-k trick; Kool, van Hoof and Welling, 2019, eq. 3).

    Args:
        latents: Factors of items and users.
        activity: ``[U]`` int64 number of choices of each user.
        warm: Items that can be chosen.
        rng: Draws the noise and the order in time.

    Returns:
        For each user the chosen items in the order of time, which is unrelated to their utility.
    """
    utility = latents.popularity + sum(
        latents.users[name] @ table.T for name, table in latents.items.items()
    )
    noisy = SHARPNESS * utility[:, warm] + rng.gumbel(size=(len(activity), len(warm)))
    ranked = warm[np.argsort(-noisy, axis=1, kind="stable")]
    return [rng.permutation(row[:count]) for row, count in zip(ranked, activity, strict=True)]
