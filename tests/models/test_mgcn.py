import pytest
import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError
from slifmr_pl.models.mgcn import Mgcn
from tests.models.references import (
    ITEMS,
    USERS,
    adjacency,
    assert_loss_and_gradients,
    assert_scores,
    bpr,
    info_nce,
    light_gcn,
    neighbour_graph,
    small_batch,
    small_features,
    small_inputs,
    spread,
    squares,
    symmetric,
)


def new_model(**settings: object) -> Mgcn:
    torch.manual_seed(0)
    options = {"neighbours": 3, "l2": 0.3, "contrast": 0.4, "temperature": 0.5}
    model = Mgcn(4, **{**options, **settings})  # type: ignore[arg-type]
    model.connect(small_inputs())
    spread(model)
    return model


def linear(layer: torch.nn.Module, table: Tensor) -> Tensor:
    assert isinstance(layer, torch.nn.Linear)
    return table @ layer.weight.T + layer.bias


def views(model: Mgcn) -> tuple[Tensor, Tensor]:
    """Section 3, densely: e and s of the users and then the items."""
    own, interactions = torch.cat(light_gcn(model, 2)), symmetric(adjacency())[:USERS, USERS:]
    of_modality, weights = [], []
    for number, ((values, present), projected) in enumerate(
        zip(small_features().values(), model.features().values(), strict=True)
    ):
        purified = model.items * linear(model.gates[number][0], projected).sigmoid()
        items = symmetric(neighbour_graph(values, present, 3, weighted=True)) @ purified
        both = torch.cat([interactions @ items, items])
        of_modality.append(both)
        hidden = linear(model.attention[0], both).tanh()
        weights.append((hidden @ model.attention[2].weight.T).exp())
    common = sum(w / sum(weights) * one for w, one in zip(weights, of_modality, strict=True))
    rest = sum(
        linear(model.preferences[number][0], own).sigmoid() * (one - common)
        for number, one in enumerate(of_modality)
    )
    side = (common + rest) / 3 if model.follows_code else common + rest / 2
    assert isinstance(side, Tensor)
    return own, side


@pytest.mark.parametrize("follows", ["paper", "code"])
def test_loss_and_gradients_are_those_of_the_paper(follows: str) -> None:
    model, batch = new_model(follows=follows), small_batch()

    def reference() -> Tensor:
        own, side = views(model)
        users, items = (own + side).split([USERS, ITEMS])
        side_users, side_items = side.split([USERS, ITEMS])
        own_users, own_items = own.split([USERS, ITEMS])
        if follows == "paper":
            contrast = info_nce(side_users, own_users, [0, 4], 0.5)
            final = model.users, model.items
        else:  # the user who is there twice counts twice, as anchor and as another
            rows = batch.users
            contrast = info_nce(side_users[rows], own_users[rows], [0, 1, 2], 0.5)
            final = users, items
        contrast = contrast + info_nce(side_items, own_items, [1, 2, 7], 0.5)
        return bpr(users, items, batch) + 0.4 * contrast + 0.3 * squares(*final, batch)

    assert_loss_and_gradients(model, batch, reference)


def test_scores_are_of_the_sum_of_both_views() -> None:
    model = new_model()
    users, items = sum(views(model)).split([USERS, ITEMS])  # type: ignore[union-attr]
    assert_scores(model, users, items)


@pytest.mark.parametrize("settings", [{"contrast": -1}, {"neighbours": 1}, {"temperature": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        new_model(**settings)
