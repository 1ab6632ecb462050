"""Knowledge graph of the demo catalogue: brands, categories, makers, series, related products."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BRANDS = 24
CATEGORIES = 12
MAKERS = 8
SERIES_PER_BRAND = 3
RELATED_PER_ITEM = 4
# A maker is no choice of its own: it owns every MAKERS-th brand.
KNOWLEDGE_SIZES = {"brand": BRANDS, "category": CATEGORIES}
RELATIONS = ("brand", "category", "maker", "series", "series_of", "related_to")


class Triple(NamedTuple):
    """One fact of the knowledge graph, in raw ids."""

    head_id: str
    relation_id: str
    tail_id: str


def product_entity(item: int) -> str:
    """Entity id of an item; never equal to its item id, so that ``links.csv`` is needed."""
    return f"product/{item:04d}"


def build_triples(codes: NDArray[np.int64], rng: np.random.Generator) -> list[Triple]:
    """State brand, category, series and related products of every item, and the owners of brands.

    Args:
        codes: ``[I, 2]`` int64, brand and category of each item.
        rng: Draws the series within the brand and the related products.

    Returns:
        Triples without repeats and in a fixed order: about 7 for each item.
    """
    triples = [Triple(f"brand/{b:02d}", "maker", f"maker/{b % MAKERS:02d}") for b in range(BRANDS)]
    for brand in range(BRANDS):
        for number in range(SERIES_PER_BRAND):
            triples.append(Triple(_series(brand, number), "series_of", f"brand/{brand:02d}"))
    for item, (brand, category) in enumerate(codes.tolist()):
        product = product_entity(item)
        series = _series(brand, int(rng.integers(SERIES_PER_BRAND)))
        triples.append(Triple(product, "brand", f"brand/{brand:02d}"))
        triples.append(Triple(product, "category", f"category/{category:02d}"))
        triples.append(Triple(product, "series", series))
        triples += [
            Triple(product, "related_to", product_entity(other))
            for other in _related(item, codes, rng)
        ]
    return triples


def _series(brand: int, number: int) -> str:
    return f"series/{brand:02d}-{number}"


def _related(item: int, codes: NDArray[np.int64], rng: np.random.Generator) -> list[int]:
    """Other items, most of which share the brand or the category."""
    closeness = (codes == codes[item]) @ np.array([8.0, 4.0]) + 0.05
    closeness[item] = 0.0
    count = min(RELATED_PER_ITEM, len(codes) - 1)
    chosen = rng.choice(len(codes), size=count, replace=False, p=closeness / closeness.sum())
    return sorted(chosen.tolist())
