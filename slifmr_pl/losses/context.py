"""What a loss term sees of one batch: scores, whole vectors and means.

Hidden from it are three things: batches are shared out over processes, tables may be shared out by
columns, and only the rows that a batch needs are propagated.

B = rows of this process's part of the batch (one positive each), n = negatives of a row, m =
distinct items that are aligned, d = embedding size.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.model_inputs import ItemFeatures
from slifmr_pl.graphs.sparse.column_parallel import EmbeddingColumns
from slifmr_pl.losses.alignment import ProcessShare, info_nce
from slifmr_pl.losses.batch_rows import BatchRows
from slifmr_pl.losses.regularisation import embedding_l2
from slifmr_pl.losses.row_scores import reference_row_scores, row_scores
from slifmr_pl.nn.network import Representations


class AlignedView(NamedTuple):
    """One view of the m items that are aligned.

    Attributes:
        vectors: float32 [m, d].
        present: bool [m], items that have it; None for all.
    """

    vectors: Tensor
    present: Tensor | None


class LossContext:
    """One batch, as loss terms see it.

    Args:
        rows: Which rows of the tables the batch needs.
        representations: Those rows, propagated.
        features: Frozen features by modality.
        columns: The columns that this process holds.
        aligned: int64, items that are aligned, each once however often it is named; None where no
            term aligns, so that they need not be among the rows.
        divisor: What sums over this process's rows are divided by.
        share: This process's part of what all compute together.
        reference: Whether scores are computed in ordinary autograd, see `row_scores`.

    Attributes:
        users: int64 [B], user rows.
        positives: int64 [B], item rows.
        negatives: int64 [B, n], item rows.
        popularity: int64 [I], training interactions of each item.
        generator: Random numbers of this training step, the same in every process and in a resumed
            run; None outside of training.
    """

    def __init__(
        self,
        users: Tensor,
        positives: Tensor,
        negatives: Tensor,
        *,
        popularity: Tensor,
        generator: torch.Generator | None,
        rows: BatchRows,
        representations: Representations,
        features: Mapping[str, ItemFeatures],
        columns: EmbeddingColumns,
        aligned: Tensor | None,
        divisor: float,
        share: ProcessShare,
        reference: bool = False,
    ) -> None:
        self.users = users
        self.positives = positives
        self.negatives = negatives
        self.popularity = popularity
        self.generator = generator
        self._rows = rows
        self._representations = representations
        self._features = features
        self._columns = columns
        self._aligned = aligned
        self._divisor = divisor
        self._share = share
        self._score_rows = reference_row_scores if reference else row_scores

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the rows of the whole batch, of values float [B] of this process's rows.

        Its gradients are right however the batch is shared out.
        """
        return values.sum() / self._divisor

    @property
    def positive_scores(self) -> Tensor:
        """⟨u*, i*⟩ of each row's positive, float32 [B]."""
        return self._scores[:, 0]

    @property
    def negative_scores(self) -> Tensor:
        """⟨u*, i*⟩ of each row's negatives, float32 [B, n]."""
        return self._scores[:, 1:]

    @cached_property
    def _scores(self) -> Tensor:
        users = functional.embedding(self._rows.user_positions, self._representations.users)
        own = self._score_rows(users, self._representations.items, self._rows.item_positions)
        return self._columns.sum_of(own)

    @cached_property
    def user_vectors(self) -> Tensor:
        """u* of each row, float32 [B, d]."""
        users = functional.embedding(self._rows.user_positions, self._representations.users)
        return self._columns.gathered(users)

    @cached_property
    def item_vectors(self) -> Tensor:
        """i* of each row's positive and then its negatives, float32 [B, 1 + n, d]."""
        items = functional.embedding(self._rows.item_positions, self._representations.items)
        return self._columns.gathered(items)

    @cached_property
    def squared_embeddings(self) -> Tensor:
        """Σ over the rows of ½‖e‖² of the embeddings that they look up; a scalar.

        A row's n negatives together weigh as much as its positive.
        """
        rows, views = self._rows, self._representations
        positives, negatives = rows.item_positions[:, 0], rows.item_positions[:, 1:]
        user_weights = _counts(rows.user_positions, len(views.ego_users))
        item_weights = _counts(positives, len(views.ego_items))
        item_weights += _counts(negatives.flatten(), len(views.ego_items)) / negatives.shape[1]
        users = views.ego_users * user_weights.sqrt().unsqueeze(1)
        items = views.ego_items * item_weights.sqrt().unsqueeze(1)
        squares: Tensor = self._columns.sum_of(embedding_l2(users, items, batch_size=1))
        return squares

    @cached_property
    def aligned_items(self) -> Tensor:
        """int64 [m], the distinct items that are aligned, ascending: positives of the whole batch.

        Raises:
            ConfigError: If the term does not set `aligns`.
        """
        if self._aligned is None:
            raise ConfigError(
                "a loss term asks for aligned items, and no term sets `aligns`",
                expected="aligns = True in the class of a term that looks at views or features",
                fix="set it: the items are propagated for such terms alone",
            )
        items: Tensor = torch.unique(self._aligned)
        return items

    def views(self) -> dict[str, AlignedView]:
        """The views of the aligned items by name; "interaction" is always there.

        Others are "knowledge", where there is a knowledge graph, and views of your own that set
        `aligned`.

        Raises:
            ConfigError: If the term does not set `aligns`.
        """
        items, rows = self.aligned_items, self._rows.items
        positions = items if rows is None else torch.searchsorted(rows, items)
        named = {"interaction": self._representations.interaction, **self._representations.views}
        gathered = self._columns.gathered
        return {name: AlignedView(gathered(view[positions]), None) for name, view in named.items()}

    def features(self, modality: str) -> AlignedView:
        """Frozen features of the aligned items in a modality, float32 [m, d_m].

        Raises:
            ConfigError: If there is no such modality, or the term does not set `aligns`.
        """
        if modality not in self._features:
            there = ", ".join(self._features)
            raise ConfigError(
                f"a loss term asks for features of {modality}",
                expected=f"one of {there}" if there else "no features: the data have no modality",
                fix="ask for the modalities of `data.feature_sizes`, which `build` gets",
            )
        values, present = self._features[modality]
        return AlignedView(values[self.aligned_items], present[self.aligned_items])

    def contrast(self, a: AlignedView, b: AlignedView, temperature: float) -> Tensor:
        """Symmetric InfoNCE between two views of the aligned items, see `info_nce`; a scalar.

        Processes that share a batch compute it together, each a part of the anchors.
        """
        columns = self._columns
        present = None
        for mask in (a.present, b.present):
            if mask is not None:
                present = mask if present is None else present & mask
        share = ProcessShare(columns.rank, columns.count) if columns.count > 1 else self._share
        # Each process has the gradients of its part alone. A pair's gradients are added up by
        # themselves first (by the alias), so that sums round alike with and without a mask.
        own_a, own_b = (
            columns.with_summed_gradients(view.vectors.view_as(view.vectors)) for view in (a, b)
        )
        return info_nce(own_a, own_b, temperature, present, share)


def _counts(rows: Tensor, size: int) -> Tensor:
    """How often each of so many rows occurs, float32; a device is not waited for."""
    ones = torch.ones((), device=rows.device).expand(len(rows))
    return torch.zeros(size, device=rows.device).scatter_add_(0, rows, ones)
