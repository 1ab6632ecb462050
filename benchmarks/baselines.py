"""The same work as it is commonly written with stock operations, to hold ours against."""

import random
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.data import InteractionData


def scipy_adjacency(data: InteractionData) -> sp.csr_matrix:
    """D^-1/2 [[0, Y], [Y^T, 0]] D^-1/2 by SciPy's block, diagonal and product routines."""
    ones = np.ones(len(data.train), dtype=np.float32)
    y = sp.csr_matrix((ones, (data.train.users, data.train.items)), (data.n_users, data.n_items))
    adjacency = sp.bmat([[None, y], [y.T, None]], format="csr")
    degrees = np.asarray(adjacency.sum(axis=1)).ravel()
    with np.errstate(divide="ignore"):
        scale = np.power(degrees, -0.5)
    scale[np.isinf(scale)] = 0.0
    diagonal = sp.diags(scale)
    return (diagonal @ adjacency @ diagonal).tocsr().astype(np.float32)


def coo_adjacency(data: InteractionData, device: torch.device) -> Tensor:
    """The same as a coalesced torch.sparse COO tensor."""
    matrix = scipy_adjacency(data).tocoo()
    indices = torch.from_numpy(np.stack([matrix.row, matrix.col]).astype(np.int64))
    values = torch.from_numpy(matrix.data)
    tensor = torch.sparse_coo_tensor(indices, values, matrix.shape, check_invariants=False)
    return tensor.coalesce().to(device)


class PlainLightGCN(nn.Module):
    """LightGCN (He et al. 2020) as it is commonly written.

    Every layer is a full COO product; the layers are stacked and averaged for all nodes before the
    batch is looked up. The loss is BPR plus L2 of the batch's own embeddings.

    Args:
        adjacency: Normalised COO matrix [U + I, U + I].
        users: Initial user embeddings float32 [U, d].
        items: Initial item embeddings float32 [I, d].
        layers: L.
        l2: Weight of the L2 term.
    """

    def __init__(
        self, adjacency: Tensor, users: Tensor, items: Tensor, layers: int, l2: float
    ) -> None:
        super().__init__()
        self.adjacency = adjacency
        self.user_embedding = nn.Embedding.from_pretrained(users.clone(), freeze=False)
        self.item_embedding = nn.Embedding.from_pretrained(items.clone(), freeze=False)
        self.layers = layers
        self.l2 = l2

    def forward(self) -> tuple[Tensor, Tensor]:
        """All users [U, d] and items [I, d]."""
        layer = torch.cat([self.user_embedding.weight, self.item_embedding.weight])
        layers = [layer]
        for _ in range(self.layers):
            layer = torch.sparse.mm(self.adjacency, layer)
            layers.append(layer)
        mean = torch.stack(layers, dim=1).mean(dim=1)
        users, items = torch.split(
            mean, [self.user_embedding.num_embeddings, self.item_embedding.num_embeddings]
        )
        return users, items

    def loss(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Scalar of one batch; int64 [B] each."""
        all_users, all_items = self()
        vectors = all_users[users]
        positive = (vectors * all_items[positives]).sum(dim=1)
        negative = (vectors * all_items[negatives]).sum(dim=1)
        ranking = functional.softplus(negative - positive).mean()
        ego = (
            self.user_embedding(users),
            self.item_embedding(positives),
            self.item_embedding(negatives),
        )
        squares = sum((e.square().sum() for e in ego), torch.zeros((), device=users.device))
        return ranking + self.l2 * squares / (2 * len(users))


class PythonBatches:
    """Shuffled batches whose negatives are drawn row by row and rejected by set membership.

    Args:
        data: The interactions.
        batch_size: Positives of a batch.
        seed: Of order and negatives.
    """

    def __init__(self, data: InteractionData, batch_size: int, seed: int = 1) -> None:
        self._pairs = np.stack([data.train.users, data.train.items], axis=1)
        self._n_items = data.n_items
        self._batch_size = batch_size
        self._seed = seed
        self._known: list[set[int]] = [set() for _ in range(data.n_users)]
        for user, item in self._pairs.tolist():
            self._known[user].add(item)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        order = np.random.default_rng(self._seed).permutation(len(self._pairs))
        draw = random.Random(self._seed)
        for first in range(0, len(order), self._batch_size):
            pairs = self._pairs[order[first : first + self._batch_size]]
            negatives = np.array([self._negative(user, draw) for user in pairs[:, 0].tolist()])
            users, positives = torch.from_numpy(pairs[:, 0]), torch.from_numpy(pairs[:, 1])
            yield users, positives, torch.from_numpy(negatives)

    def _negative(self, user: int, draw: random.Random) -> int:
        while True:
            item = draw.randrange(self._n_items)
            if item not in self._known[user]:
                return item
