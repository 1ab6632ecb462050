"""What a checkpoint holds of the data that its model was trained on."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.errors import CheckpointError
from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph
from slifmr_pl.graphs.model_inputs import ItemFeatures, ModelInputs


def data_state(inputs: ModelInputs) -> dict[str, Any]:
    """What a checkpoint says of its data, in plain types."""
    return {
        "fingerprint": inputs.fingerprint,
        "vocabulary": inputs.vocabulary,
        "graph": inputs.graph.state(),
        "catalogue": None if inputs.catalogue is None else inputs.catalogue.state,
        "features": {name: one.values.shape[1] for name, one in inputs.features.items()},
    }


def inputs_of_state(state: Mapping[str, Any]) -> ModelInputs:
    """The data of a checkpoint; features are zeros of their sizes, which take no memory."""
    graph, packed = HeterogeneousGraph.from_state(state["graph"]), state["catalogue"]
    everywhere = torch.ones(graph.n_items, dtype=torch.bool)
    return ModelInputs(
        graph,
        {
            name: ItemFeatures.absent(graph.present.get(name, everywhere), size)
            for name, size in state["features"].items()
        },
        state["fingerprint"],
        state["vocabulary"],
        None if packed is None else Catalogue.from_state(packed),
        features_are_absent=True,
    )


class DataIdentity(NamedTuple):
    """What tells data sets apart.

    Attributes:
        users: Number of users.
        items: Number of items.
        vocabulary: Fingerprint of the raw ids.
        fingerprint: Of ids, interactions, split, features and facts.
    """

    users: int
    items: int
    vocabulary: str
    fingerprint: str


def identity_of(inputs: ModelInputs) -> DataIdentity:
    """The identity of the data at hand."""
    graph = inputs.graph
    return DataIdentity(graph.n_users, graph.n_items, inputs.vocabulary, inputs.fingerprint)


def identity_of_state(state: Mapping[str, Any]) -> DataIdentity:
    """The identity of the data of a checkpoint, by this package's entry of it."""
    graph = state["graph"]
    return DataIdentity(
        graph["n_users"], graph["n_items"], state["vocabulary"], state["fingerprint"]
    )


def check_data(inputs: ModelInputs, trained_on: DataIdentity) -> None:
    """Refuses a checkpoint of other data than that at hand.

    Args:
        inputs: The data at hand.
        trained_on: What the checkpoint was trained on.

    Raises:
        CheckpointError: If sizes, ids or contents differ.
    """
    here = identity_of(inputs)
    difference = "; ".join(
        f"the data has {getattr(here, name)} {name}, in the checkpoint {getattr(trained_on, name)}"
        for name in ("users", "items")
        if getattr(here, name) != getattr(trained_on, name)
    )
    for name, what in (
        ("vocabulary", "the data has other ids: vocabulary fingerprint"),
        ("fingerprint", "the data has fingerprint"),
    ):
        own, other = getattr(here, name), getattr(trained_on, name)
        if not difference and own != other:
            difference = f"{what} {own[:12]}, the checkpoint was trained on {other[:12]}"
    if difference:
        raise CheckpointError(
            difference,
            expected="the same ids, interactions, split, features and knowledge graph",
            fix="give the `data` configuration of the checkpoint's run (its config.yaml), "
            "or train again without --ckpt_path",
        )
