import pytest
import torch

from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.model_inputs import ItemFeatures
from slifmr_pl.models.vbpr import Vbpr
from tests.models.tiny import inputs_of_matrix, random_matrix

USERS, ITEMS = 6, 8


@pytest.fixture
def model() -> Vbpr:
    torch.manual_seed(0)
    features = {
        "image": ItemFeatures(torch.randn(ITEMS, 5), torch.arange(ITEMS) != 3),
        "text": ItemFeatures(torch.randn(ITEMS, 4), torch.ones(ITEMS, dtype=torch.bool)),
    }
    model = Vbpr(embedding_dim=6, l2=0.1)
    model.build(inputs_of_matrix(random_matrix(USERS, ITEMS), features))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model.double()


def score(model: Vbpr, user: int, item: int) -> torch.Tensor:
    """Equation 4 of the paper, term by term."""
    gamma_u, theta_u = model.users[user].split(3)
    visual = sum(model.features[item, f] * model.projection[f] for f in range(9))
    assert isinstance(visual, torch.Tensor)
    return (
        model.bias[item]
        + torch.dot(gamma_u, model.items[item])
        + torch.dot(theta_u, visual)
        + torch.dot(model.feature_bias, model.features[item])
    )


def test_scores_are_those_of_the_formula(model: Vbpr) -> None:
    vectors = model.representations()
    scores = (vectors.users @ vectors.items.T).detach()
    for user in range(USERS):
        for item in range(ITEMS):
            assert float(scores[user, item]) == pytest.approx(score(model, user, item).item())


def test_gradient_is_that_of_the_formula(model: Vbpr) -> None:
    users, positives = torch.tensor([0, 4, 4]), torch.tensor([1, 2, 7])
    negatives = torch.tensor([[3, 5], [6, 0], [3, 1]])
    batch = TrainBatch(users, positives, negatives, positives, 1, users)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(model.loss(batch), parameters)
    loss = torch.zeros((), dtype=torch.float64)
    for user, positive, row in zip(users, positives, negatives, strict=True):
        for negative in row:
            difference = score(model, int(user), int(positive)) - score(
                model, int(user), int(negative)
            )
            loss = loss - torch.sigmoid(difference).log() / 6
        squares = model.users[user].square().sum()
        for item in (positive, *row):
            squares = squares + model.items[item].square().sum() + model.bias[item] ** 2
        loss = loss + 0.1 * squares / 6
    whole = model.projection.square().sum() + model.feature_bias.square().sum()
    theirs = torch.autograd.grad(loss + 0.1 * whole / 6, parameters)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_features_are_of_unit_length_and_zero_where_absent(model: Vbpr) -> None:
    lengths = model.features.norm(dim=1) ** 2
    assert lengths.tolist() == pytest.approx([1.0 if item == 3 else 2.0 for item in range(ITEMS)])


def test_data_without_features_are_refused() -> None:
    with pytest.raises(ConfigError, match="without item features"):
        Vbpr().build(inputs_of_matrix(random_matrix(3, 3)))


@pytest.mark.parametrize("width", [0, 7])
def test_widths_that_have_no_half_are_refused(width: int) -> None:
    with pytest.raises(ConfigError, match=f"embedding_dim {width}"):
        Vbpr(embedding_dim=width)
