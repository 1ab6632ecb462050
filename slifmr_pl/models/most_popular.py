"""MostPop: the same list for everyone."""

from typing import Any

import torch
from torch import Tensor

from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.models.closed_form import ClosedForm
from slifmr_pl.models.ranking_module import Vectors


class MostPopular(ClosedForm):
    """Ranks items by their number of training interactions."""

    popularity: Tensor

    def build(self, inputs: ModelInputs) -> None:
        """Makes room for a count of each item, exact up to 2^24."""
        self._n_users = inputs.graph.n_users
        self.register_buffer("popularity", torch.zeros(inputs.graph.n_items))

    def learn(self, interactions: Any) -> None:
        """Counts."""
        self.popularity.copy_(torch.from_numpy(interactions.sum(axis=0)))

    def representations(self) -> Vectors:
        """One column: 1 for each user, the count for each item."""
        return Vectors(self.popularity.new_ones(self._n_users, 1), self.popularity.unsqueeze(1))
