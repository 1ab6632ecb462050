import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from slifmr_pl.errors import ConfigError
from slifmr_pl.models.xsimgcl import XSimGcl, shifted
from tests.models.references import (
    ITEMS,
    MATRIX,
    USERS,
    adjacency,
    assert_loss_and_gradients,
    bpr,
    info_nce,
    small_batch,
    spread,
    squares,
    symmetric,
)
from tests.models.tiny import inputs_of_matrix


def new_model(**settings: object) -> XSimGcl:
    options = {"layers": 3, "contrasted_layer": 2, "l2": 0.3, "contrast": 0.4, "noise": 0.2}
    model = XSimGcl(4, **{**options, **settings})  # type: ignore[arg-type]
    model.connect(inputs_of_matrix(MATRIX.double().numpy()))
    spread(model)
    return model


def layers_of(model: XSimGcl, draw: torch.Generator | None) -> list[Tensor]:
    layers, matrix = [torch.cat([model.users, model.items])], symmetric(adjacency())
    for _ in range(model.layers):
        layer = matrix @ layers[-1]
        if draw is not None:
            noise = [normalize(torch.rand(n, 4, generator=draw), dim=1) for n in (USERS, ITEMS)]
            layer = layer + layer.sign() * model.noise * torch.cat(noise)
        layers.append(layer)
    return layers


@pytest.mark.parametrize("follows", ["paper", "code"])
def test_loss_and_gradients_are_those_of_the_paper(follows: str) -> None:
    model, batch = new_model(follows=follows), small_batch()

    def reference() -> Tensor:
        layers = layers_of(model, model.step_generator())
        users, items = (sum(layers[1:]) / 3).split([USERS, ITEMS])  # type: ignore[union-attr]
        other_users, other_items = layers[2].split([USERS, ITEMS])
        total = bpr(users, items, batch)
        contrast = info_nce(users, other_users, [0, 4], model.temperature)
        contrast = contrast + info_nce(items, other_items, [1, 2, 7], model.temperature)
        if follows == "paper":
            l2 = squares(model.users, model.items, batch)
        else:
            l2 = (users[batch.users].norm() + items[batch.positives].norm()) / 3
        return total + 0.4 * contrast + 0.3 * l2

    assert_loss_and_gradients(model, batch, reference)


def test_scores_have_no_noise() -> None:
    model = new_model()
    users, items = (sum(layers_of(model, None)[1:]) / 3).split([USERS, ITEMS])  # type: ignore[union-attr]
    ours = model.representations()
    torch.testing.assert_close(ours.users, users)
    torch.testing.assert_close(ours.items, items)


def test_noise_keeps_signs_and_has_its_length() -> None:
    table = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    moved = shifted(table, 0.2, torch.Generator().manual_seed(2))
    torch.testing.assert_close((moved - table).norm(dim=1), torch.full((50,), 0.2))
    assert torch.equal(moved.sign(), table.sign())


@pytest.mark.parametrize(
    "settings", [{"contrasted_layer": 4}, {"contrasted_layer": 0}, {"temperature": 0}, {"l2": -1}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        new_model(**settings)
