"""XSimGCL: LightGCN with noise in its layers, contrasted with one of them."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from slifmr_pl.config.bounds import is_number, require, require_from
from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.graphs.sparse.spmm import spmm
from slifmr_pl.models.graph_peer import Follows, GraphPeer, contrast_of_batch, vectors_of
from slifmr_pl.models.ranking_module import Vectors


class Propagated(NamedTuple):
    """What one propagation gives.

    Attributes:
        final: Mean of the layers 1 … L.
        contrasted: Layer l*.
    """

    final: Vectors
    contrasted: Vectors


class XSimGcl(GraphPeer):
    """Mean of the layers 1 … L of LightGCN; in training, noise is added to every layer.

    Yu et al., "XSimGCL: Towards Extremely Simple Graph Contrastive Learning for Recommendation",
    TKDE 2023. Each layer becomes e + ε · sign(e) ⊙ z, z uniform in (0, 1)^d and scaled to length 1.
    L = BPR + λ Σ InfoNCE(final, layer l*) + l2 · ½‖·‖², the second over the distinct users and
    positives of the batch (one sum each), with the cosine as similarity.

    L2 is of the batch's own embeddings, as in LightGCN, which the paper starts from. The public
    code (Coder-Yu/SELFRec) takes the plain length, ‖·‖ ÷ B, of the final vectors of the users and
    of the positives, and the natural logarithm of σ + 1e-5 in BPR: ``follows="code"`` takes the
    former, and leaves the latter.

    Args:
        embedding_dim: d.
        learning_rate: Step size of Adam.
        layers: L.
        l2: Weight of the L2 term.
        noise: ε.
        contrast: λ.
        temperature: τ of InfoNCE.
        contrasted_layer: l*, from 1 to L.
        follows: See above.
        **evaluation: See `RecommenderModule`.
    """

    def __init__(
        self,
        embedding_dim: int = 64,
        learning_rate: float = 1e-3,
        layers: int = 2,
        l2: float = 1e-4,
        noise: float = 0.2,
        contrast: float = 0.2,
        temperature: float = 0.15,
        contrasted_layer: int = 1,
        follows: Follows = "paper",
        **evaluation: Any,
    ) -> None:
        super().__init__(embedding_dim, learning_rate, layers, follows, **evaluation)
        require_from("model", 0, l2=l2, noise=noise, contrast=contrast)
        is_layer = is_number(contrasted_layer, least=1, most=layers, whole=True)
        require(
            "model",
            ("temperature", temperature, is_number(temperature, above=0), "above 0"),
            ("contrasted_layer", contrasted_layer, is_layer, f"a layer from 1 to {layers}"),
        )
        self.l2, self.noise, self.contrast = l2, noise, contrast
        self.temperature = temperature
        self.contrasted_layer = contrasted_layer

    def propagate(self, generator: torch.Generator | None = None) -> Propagated:
        """All users and items; with noise where there is a generator."""
        graph = self.interaction_graph
        layers = [Vectors(self.users, self.items)]
        for _ in range(self.layers):
            users, items = layers[-1]
            users, items = spmm(graph.user_items, items), spmm(graph.item_users, users)
            if generator is not None:
                users, items = (shifted(one, self.noise, generator) for one in (users, items))
            layers.append(Vectors(users, items))
        users, items = (sum(side[2:], side[1]) for side in zip(*layers, strict=True))
        final = Vectors(users / self.layers, items / self.layers)
        return Propagated(final, layers[self.contrasted_layer])

    def representations(self) -> Vectors:
        """Without noise."""
        return self.propagate().final

    def loss(self, batch: TrainBatch) -> dict[str, Tensor]:
        """BPR, contrast and L2 of a batch."""
        final, contrasted = self.propagate(self.step_generator())
        users, items = vectors_of(batch, final)
        ranking = self.bpr(users, items)
        contrast = contrast_of_batch(batch, final, contrasted, self.temperature)
        if self.follows_code:
            l2 = (users.norm() + items[:, 0].norm()) / len(users)
        else:
            l2 = self.squares(batch, users, items)
        total = ranking + self.contrast * contrast + self.l2 * l2
        return {"loss": total, "ranking": ranking, "contrast": contrast, "l2": l2}


def shifted(table: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """A table with noise of a length in the orthant of each row, [n, d]."""
    drawn = torch.rand(table.shape, generator=generator, device=table.device)
    return table + table.detach().sign() * (noise * normalize(drawn, dim=1))
