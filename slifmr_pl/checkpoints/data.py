"""What a checkpoint holds of the data that its model was trained on."""

from collections.abc import Mapping
from typing import Any

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


def check_data(inputs: ModelInputs, state: Mapping[str, Any]) -> None:
    """Refuses a checkpoint of other data than that at hand.

    Args:
        inputs: The data at hand.
        state: This package's entry of a checkpoint, or what `data_state` gives.

    Raises:
        CheckpointError: If sizes, ids or contents differ.
    """
    graph = inputs.graph
    values = [(name, getattr(graph, f"n_{name}"), f"n_{name}") for name in ("users", "items")]
    difference = "; ".join(
        f"the data has {here} {name}, in the checkpoint {state['graph'][key]}"
        for name, here, key in values
        if here != state["graph"][key]
    )
    for name, what in (
        ("vocabulary", "the data has other ids: vocabulary fingerprint"),
        ("fingerprint", "the data has fingerprint"),
    ):
        here, there = getattr(inputs, name), state[name]
        if not difference and here != there:
            difference = f"{what} {here[:12]}, the checkpoint was trained on {there[:12]}"
    if difference:
        raise CheckpointError(
            difference,
            expected="the same ids, interactions, split, features and knowledge graph",
            fix="give the `data` configuration of the checkpoint's run (its config.yaml), "
            "or train again without --ckpt_path",
        )
