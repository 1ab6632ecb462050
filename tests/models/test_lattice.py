import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from slifmr_pl.errors import ConfigError
from slifmr_pl.models.lattice import Lattice
from tests.models.references import (
    ITEMS,
    USERS,
    adjacency,
    assert_loss_and_gradients,
    assert_scores,
    bpr,
    light_gcn,
    mean_of_layers,
    neighbour_graph,
    small_batch,
    small_features,
    small_inputs,
    spread,
    squares,
    symmetric,
)


def new_model(**settings: object) -> Lattice:
    torch.manual_seed(0)
    options = {"neighbours": 3, "kept_share": 0.6, "l2": 0.3, "item_layers": 2}
    model = Lattice(4, **{**options, **settings})  # type: ignore[arg-type]
    model.connect(small_inputs())
    spread(model)
    return model


def item_graph(model: Lattice) -> Tensor:
    """Section 3.1, densely."""
    weights = model.item_graph.modality_logits.softmax(0)
    frozen, learnt = torch.zeros(ITEMS, ITEMS), torch.zeros(ITEMS, ITEMS)
    projected = model.item_graph.features().values()
    for weight, (values, present), vectors in zip(
        weights, small_features().values(), projected, strict=True
    ):
        frozen = frozen + weight * symmetric(neighbour_graph(values, present, 3, weighted=True))
        learnt = learnt + weight * neighbour_graph(vectors, present, 3, weighted=True)
    return 0.6 * frozen + 0.4 * symmetric(learnt)


def vectors(model: Lattice, graph: Tensor) -> tuple[Tensor, Tensor]:
    if model.follows_code:
        matrix = adjacency() + torch.eye(USERS + ITEMS)
        matrix = matrix / matrix.sum(1, keepdim=True)
        users, items = mean_of_layers(matrix, torch.cat([model.users, model.items]), 2)
    else:
        users, items = light_gcn(model, 2)
    return users, items + normalize(graph @ graph @ model.items, dim=1)


@pytest.mark.parametrize("follows", ["paper", "code"])
def test_loss_and_gradients_of_an_epochs_first_step_are_those_of_the_paper(follows: str) -> None:
    """Those of the weights that make the graph, too."""
    model, batch = new_model(follows=follows), small_batch()

    def reference() -> Tensor:
        users, items = vectors(model, item_graph(model))
        final = (users, items) if follows == "code" else (model.users, model.items)
        return bpr(users, items, batch) + 0.3 * squares(*final, batch)

    assert_loss_and_gradients(model, batch, reference)


def test_later_steps_of_an_epoch_have_the_graph_of_the_first() -> None:
    model, batch = new_model(), small_batch()
    graph = item_graph(model).detach()
    model.loss(batch)
    with torch.no_grad():
        for parameter in model.item_graph.parameters():
            parameter.mul_(-0.5)
    loss = model.loss(batch)["loss"]
    users, items = vectors(model, graph)
    expected = bpr(users, items, batch) + 0.3 * squares(model.users, model.items, batch)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(parameter.grad is None for parameter in model.item_graph.parameters())


def test_shared_steps_have_gradients_of_zero_that_the_optimizer_does_not_see() -> None:
    model, batch = new_model(), small_batch()._replace(n_ranks=2)
    for taught in (True, False):
        model.loss(batch)["loss"].backward()
        gradients = [parameter.grad for parameter in model.item_graph.parameters()]
        assert all(one is not None and one.any() == taught for one in gradients)
        model.on_before_optimizer_step(torch.optim.SGD(model.parameters(), lr=0.1))
        left = [parameter.grad is not None for parameter in model.item_graph.parameters()]
        assert left == [taught] * len(gradients)
        model.zero_grad()


@pytest.mark.parametrize("follows", ["paper", "code"])
def test_scores_are_of_the_present_weights(follows: str) -> None:
    model = new_model(follows=follows)
    model.loss(small_batch())
    with torch.no_grad():
        for parameter in model.item_graph.parameters():
            parameter.add_(0.3)
    users, items = vectors(model, item_graph(model))
    assert_scores(model, users, items)


@pytest.mark.parametrize("settings", [{"kept_share": 1.1}, {"neighbours": 1}, {"item_layers": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        new_model(**settings)
