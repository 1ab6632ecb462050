"""KGIN: users through intents, items through relational paths of the knowledge graph."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from slifmr_pl.config.bounds import require_counts, require_from, require_share
from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.graphs.pruning import some_triples
from slifmr_pl.graphs.relational import RelationalGraph
from slifmr_pl.graphs.sparse.spmm import SparseGraph, spmm
from slifmr_pl.graphs.triples import DirectedTriples
from slifmr_pl.losses.dependence import distance_correlation, squared_cosine
from slifmr_pl.models.graph_peer import Follows, GraphPeer, vectors_of
from slifmr_pl.models.ranking_module import Vectors


class Kgin(GraphPeer):
    """Score of the sums over the layers 0 … L of users and items, see below.

    Wang et al., "Learning Intents behind Interactions with Knowledge Graph for Recommendation", WWW
    2021, section 3. With N_u the items of a user, N_v the facts of an entity in both directions:

    - intents: e_p = Σ_r softmax_r(w_rp) e_r, and β(u, p) = softmax_p(⟨e_p, e_u⟩) with the user's
      own embedding of layer 0
    - users: e_u^l = (Σ_p β(u, p) e_p) ⊙ 1/|N_u| Σ_{i ∈ N_u} e_i^(l-1)
    - entities: e_v^l = 1/|N_v| Σ_{(r, t) ∈ N_v} e_r ⊙ e_t^(l-1)
    - L = BPR + λ Σ_{p < p'} dCor(e_p, e_p') + l2 · ½‖·‖² of the batch's own embeddings

    Where the public code (huangtinglin/Knowledge_Graph_based_Intent_Network) differs,
    ``follows="code"`` does as it does: β is of embeddings apart from e_p and of the user of the
    layer before, every layer is scaled to length 1, users also get the mean of their items as it
    is, independence is the squared cosine of the logits w_p, and L2 is of the final vectors.

    Args:
        embedding_dim: d.
        learning_rate: Step size of Adam.
        layers: L.
        l2: Weight of the L2 term.
        intents: Number of intents.
        independence: λ.
        dropout: Share of the facts and of the interactions that each step of training leaves out.
        follows: See above.
        **evaluation: See `RecommenderModule`.
    """

    def __init__(
        self,
        embedding_dim: int = 64,
        learning_rate: float = 1e-3,
        layers: int = 2,
        l2: float = 1e-5,
        intents: int = 4,
        independence: float = 1e-4,
        dropout: float = 0.5,
        follows: Follows = "paper",
        **evaluation: Any,
    ) -> None:
        require_counts("model", 1, intents=intents)
        require_from("model", 0, l2=l2, independence=independence)
        require_share("model", dropout=dropout)
        super().__init__(embedding_dim, learning_rate, layers, follows, **evaluation)
        self.l2, self.intents, self.independence, self.dropout = l2, intents, independence, dropout
        self._graphs: tuple[SparseGraph, RelationalGraph, DirectedTriples] | None = None

    def build(self, inputs: ModelInputs) -> None:
        """Creates the tables of users, items, other entities, relations and intents."""
        triples = inputs.graph.triples
        if triples is None:
            raise ConfigError(
                "Kgin without facts",
                expected="a knowledge graph",
                fix="leave data.use_knowledge on, or take configs/model/lightgcn_bpr.yaml",
            )
        super().build(inputs)
        others = inputs.graph.n_entities - inputs.graph.n_items
        self.entities = nn.Parameter(torch.empty(others, self.embedding_dim))
        self.relations = nn.Parameter(torch.empty(triples.n_relations, self.embedding_dim))
        self.intent_logits = nn.Parameter(torch.empty(self.intents, triples.n_relations))
        for table in (self.entities, self.relations, self.intent_logits):
            nn.init.xavier_uniform_(table)
        self.keys: nn.Parameter | None = None
        if self.follows_code:
            keys = torch.empty(self.intents, self.embedding_dim)
            self.keys = nn.Parameter(nn.init.xavier_uniform_(keys))
        self._triples, self._graphs = triples, None

    def propagate(self, generator: torch.Generator | None = None) -> Vectors:
        """All users and items; with edges left out where there is a generator (of the CPU)."""
        mean_of_items, facts = self.graphs(generator)
        relations, n_items = self.relations, len(self.items)
        entities = torch.cat([self.items, self.entities])
        intents = self.intent_logits.softmax(dim=1) @ relations
        users: Tensor = self.users
        total_users, total_items = users, entities[:n_items]
        for _ in range(self.layers):
            asking, keys = (self.users, intents) if self.keys is None else (users, self.keys)
            of_user = (asking @ keys.T).softmax(dim=1) @ intents
            items = spmm(mean_of_items, entities[:n_items])
            entities = facts.propagate(entities, relations)
            users = of_user * items
            if self.follows_code:
                users, entities = normalize(users + items, dim=1), normalize(entities, dim=1)
            total_users, total_items = total_users + users, total_items + entities[:n_items]
        return Vectors(total_users, total_items)

    def representations(self) -> Vectors:
        """Over all facts and interactions."""
        return self.propagate()

    def loss(self, batch: TrainBatch) -> dict[str, Tensor]:
        """BPR, independence of the intents, and L2 of a batch."""
        generator = self.step_generator(device="cpu") if self.dropout > 0 else None
        final = self.propagate(generator)
        users, items = vectors_of(batch, final)
        ranking = self.bpr(users, items)
        l2 = self.squares(batch, users, items)
        intents: Tensor = self.intent_logits
        dependence = squared_cosine
        if not self.follows_code:
            intents, dependence = intents.softmax(dim=1) @ self.relations, distance_correlation
        pairs = [dependence(one, other) for one, other in combinations(intents, 2)]
        independence = torch.stack(pairs).sum() if pairs else 0.0 * intents.sum()
        parts = {"ranking": ranking, "independence": independence, "l2": l2}
        return {"loss": ranking + self.independence * independence + self.l2 * l2, **parts}

    def graphs(self, generator: torch.Generator | None) -> tuple[SparseGraph, RelationalGraph]:
        """D^-1 Y [U, I], and the facts with 1 ÷ |N_v| each; perhaps without some of them."""
        if self._graphs is None or self._graphs[0].forward.offsets.device != self.device:
            whole = self._triples.to(self.device)
            facts = RelationalGraph.build(whole, whole.uniform_attention())
            pairs = self.interaction_graph.user_items.forward
            counts = pairs.offsets.diff()
            shares = counts.float().reciprocal().repeat_interleave(counts)
            self._graphs = SparseGraph(replace(pairs, values=shares)), facts, whole
        interactions, facts, whole = self._graphs
        if generator is None:
            return interactions, facts
        # Counted on the CPU: with a mask, each of its three uses would wait for the device.
        kept = (torch.rand(len(whole), generator=generator) >= self.dropout).nonzero().squeeze(1)
        some = some_triples(whole, kept.to(self.device))
        facts = RelationalGraph.build(some, some.uniform_attention())
        return interactions.with_dropped_edges(self.dropout, generator), facts
