"""Features and facts of two items that came after training, beside those of the demo catalogue."""

from pathlib import Path

import numpy as np

from feature_extraction import FeatureStore
from feature_extraction.stores.store import write_store
from slifmr_pl.serving.recommender import Recommender
from tests.tiny_runs import demo_data


def store_of(catalogue: Path, folder: Path) -> FeatureStore:
    """The catalogue's texts, and the new item with the text of the first item."""
    data = demo_data(catalogue)
    data.setup("")
    ids = data.data.items.ids.to_pylist()
    features = data.model_inputs.features["text"]
    values = features.values.numpy()
    return write_store(
        folder / "text-grown",
        ids=[*ids, "like the first", "unknown"],
        features=np.concatenate([values, values[:1], 0 * values[:1]]),
        present=np.concatenate([features.present.numpy(), [True, False]]),
        manifest={"encoder": "the demo's"},
    )


def facts_of(recommender: Recommender, item: str, name: str) -> list[tuple[str, str, str]]:
    """What the knowledge graph says of an item, said of another."""
    catalogue, triples = recommender.catalogue, recommender.graph.triples
    assert triples is not None
    (row,) = catalogue.items.encode([item])
    facts = []
    for head, relation, tail in zip(triples.heads, triples.relations, triples.tails, strict=True):
        if head == row:
            (other,) = catalogue.entities.decode([int(tail)])
            n = len(catalogue.relations)
            (label,) = catalogue.relations.decode([int(relation) % n])
            facts.append((name, label, other) if relation < n else (other, label, name))
    assert facts
    return facts
