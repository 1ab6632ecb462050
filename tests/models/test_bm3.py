import pytest
import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError
from slifmr_pl.models.bm3 import Bm3
from tests.models.references import (
    ITEMS,
    MATRIX,
    assert_loss_and_gradients,
    assert_scores,
    light_gcn,
    small_batch,
    small_inputs,
    spread,
)
from tests.models.tiny import inputs_of_matrix


def new_model(**settings: object) -> Bm3:
    options = {"layers": 2, "l2": 0.2, "alignment": 0.7, "dropout": 0.4}
    model = Bm3(4, **{**options, **settings})  # type: ignore[arg-type]
    model.connect(small_inputs())
    spread(model)
    return model


def vectors(model: Bm3) -> tuple[Tensor, Tensor]:
    users, items = light_gcn(model, 2)
    return users, items + model.items


@pytest.mark.parametrize("follows", ["paper", "code"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_loss_and_gradients_are_those_of_the_paper(follows: str, dropout: float) -> None:
    model, batch = new_model(follows=follows, dropout=dropout), small_batch()

    def target(table: Tensor, stream: int) -> Tensor:
        drawn = torch.rand(table.shape, generator=model.step_generator(stream))
        return (table * (drawn >= dropout) / (1 - dropout)).detach()

    def distance(vector: Tensor, to: Tensor) -> Tensor:
        predicted = model.predictor.weight @ vector + model.predictor.bias
        return 1 - predicted @ to / (predicted.norm() * to.norm())

    def reference() -> Tensor:
        users, items = vectors(model)
        user_targets, item_targets = target(users, 0), target(items, 1)
        total = torch.zeros(())
        for user, item in zip(batch.users, batch.positives, strict=True):
            total = total + distance(users[user], item_targets[item]) / 3
            total = total + distance(items[item], user_targets[user]) / 3
            for stream, projected in enumerate(model.features().values(), 2):
                for other in (item_targets, target(projected, stream)):
                    total = total + 0.7 * distance(projected[item], other[item]) / 3
            if follows == "paper":
                total = total + 0.2 * (users[user] @ users[user] + items[item] @ items[item]) / 3
        if follows == "code":
            total = total + 0.2 * (users.norm() + items.norm()) / ITEMS
        return total

    assert_loss_and_gradients(model, batch, reference)


def test_scores_are_products_of_what_the_predictor_makes() -> None:
    model = new_model()
    users, items = (side @ model.predictor.weight.T for side in vectors(model))
    assert_scores(model, users + model.predictor.bias, items + model.predictor.bias)


def test_negatives_do_not_matter() -> None:
    model, batch = new_model(), small_batch()
    other = batch._replace(negatives=(batch.negatives + 1) % ITEMS)
    assert torch.equal(model.loss(batch)["loss"], model.loss(other)["loss"])


def test_data_without_features_are_refused() -> None:
    with pytest.raises(ConfigError, match="Bm3 without item features"):
        Bm3().build(inputs_of_matrix(MATRIX.double().numpy()))
