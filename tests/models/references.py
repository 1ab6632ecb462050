"""Peers once more, by the formulas of their papers, with dense matrices and plain autograd.

What a test compares a model with; U users, I items, d embedding size.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.graphs.model_inputs import ItemFeatures, ModelInputs
from slifmr_pl.models.base import RecommenderModule
from slifmr_pl.models.graph_peer import GraphPeer
from tests.models.tiny import inputs_of_matrix, random_matrix

USERS, ITEMS = 6, 8
MATRIX = torch.from_numpy(random_matrix(USERS, ITEMS)).float()


def small_features() -> dict[str, ItemFeatures]:
    """Two modalities; an item lacks a picture."""
    draw = torch.Generator().manual_seed(7)
    return {
        "image": ItemFeatures(torch.rand(ITEMS, 5, generator=draw), torch.arange(ITEMS) != 3),
        "text": ItemFeatures(
            torch.rand(ITEMS, 4, generator=draw), torch.ones(ITEMS, dtype=torch.bool)
        ),
    }


def small_inputs() -> ModelInputs:
    """What a data module would give of the matrix and both modalities."""
    return inputs_of_matrix(MATRIX.double().numpy(), small_features())


def small_batch() -> TrainBatch:
    """Three rows of two users, two negatives each."""
    users, positives = torch.tensor([0, 4, 4]), torch.tensor([1, 2, 7])
    negatives = torch.tensor([[3, 5], [6, 0], [3, 1]])
    return TrainBatch(users, positives, negatives, positives, 1, users)


def adjacency() -> Tensor:
    """[[0, Y], [Y^T, 0]]."""
    whole = torch.zeros(USERS + ITEMS, USERS + ITEMS)
    whole[:USERS, USERS:], whole[USERS:, :USERS] = MATRIX, MATRIX.T
    return whole


def symmetric(matrix: Tensor) -> Tensor:
    """D^-1/2 A D^-1/2, D the sums of the rows."""
    scale = matrix.sum(1).clamp_min(1e-12).rsqrt()
    return scale[:, None] * matrix * scale


def mean_of_layers(matrix: Tensor, table: Tensor, layers: int) -> tuple[Tensor, Tensor]:
    """(Σ_l A^l E) ÷ (L + 1), users and items."""
    total, power = table, table
    for _ in range(layers):
        power = matrix @ power
        total = total + power
    users, items = (total / (layers + 1)).split([USERS, ITEMS])
    return users, items


def light_gcn(model: GraphPeer, layers: int) -> tuple[Tensor, Tensor]:
    """Users and items over all interactions."""
    table = torch.cat([model.users, model.items])
    return mean_of_layers(symmetric(adjacency()), table, layers)


def neighbour_graph(vectors: Tensor, present: Tensor, k: int, *, weighted: bool) -> Tensor:
    """Row by row the k items of highest cosine, the item itself among them, [I, I]."""
    unit = normalize(vectors, dim=1)
    cosines = unit @ unit.T
    kept = torch.zeros(ITEMS, ITEMS)
    for item in range(ITEMS):
        if present[item]:
            near = cosines[item].detach().masked_fill(~present, -2)
            near[item] = 2
            best = near.topk(k)
            kept[item, best.indices[best.values > 0]] = 1
    return kept * cosines if weighted else kept


def bpr(users: Tensor, items: Tensor, batch: TrainBatch) -> Tensor:
    """-mean ln σ(s⁺ - s⁻), pair by pair."""
    terms = []
    for user, positive, row in zip(batch.users, batch.positives, batch.negatives, strict=True):
        for negative in row:
            difference = users[user] @ items[positive] - users[user] @ items[negative]
            terms.append(-logsigmoid(difference))
    return torch.stack(terms).mean()


def squares(users: Tensor, items: Tensor, batch: TrainBatch) -> Tensor:
    """½ Σ ‖·‖² ÷ B of the rows of a batch."""
    total = torch.zeros(())
    for user, positive, row in zip(batch.users, batch.positives, batch.negatives, strict=True):
        total = total + users[user].square().sum() + items[positive].square().sum()
        total = total + items[row].square().sum()
    return total / (2 * len(batch.users))


def info_nce(anchors: Tensor, others: Tensor, rows: list[int], temperature: float) -> Tensor:
    """-mean ln (e^{cos(a_i, b_i)/τ} ÷ Σ_j e^{cos(a_i, b_j)/τ})."""
    terms = []
    for i in rows:
        cosines = [
            torch.cosine_similarity(anchors[i], others[j], dim=0) / temperature for j in rows
        ]
        own = cosines[rows.index(i)]
        terms.append(torch.stack(cosines).logsumexp(0) - own)
    return torch.stack(terms).mean()


def assert_loss_and_gradients(
    model: RecommenderModule, batch: TrainBatch, reference: Callable[[], Tensor]
) -> None:
    """The loss of a model and all of its gradients are those of a formula."""
    losses = model.loss(batch)
    ours = losses if isinstance(losses, Tensor) else losses["loss"]
    theirs = reference()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    parameters = dict(model.named_parameters())
    for name, one, other in zip(
        parameters,
        torch.autograd.grad(ours, list(parameters.values()), allow_unused=True),
        torch.autograd.grad(theirs, list(parameters.values()), allow_unused=True),
        strict=True,
    ):
        assert other is not None, name
        assert one is not None, name
        torch.testing.assert_close(
            one, other, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


def assert_scores(model: RecommenderModule, users: Tensor, items: Tensor) -> None:
    """The model ranks by the products of these vectors."""
    ours = model.representations()
    torch.testing.assert_close(ours.users @ ours.items.T, users @ items.T)


def spread(model: RecommenderModule) -> None:
    """Parameters large enough that no term vanishes."""
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw))
