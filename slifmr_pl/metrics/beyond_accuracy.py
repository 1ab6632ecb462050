"""What is recommended to all users together, whether it is relevant or not."""

from typing import TYPE_CHECKING

from slifmr_pl.metrics.metric import CatalogueMetric

if TYPE_CHECKING:  # the definitions are printed without waiting for torch
    from torch import Tensor

    from slifmr_pl.metrics.metric_inputs import MetricInputs


class Coverage(CatalogueMetric):
    """Share of the catalogue that is recommended at least once."""

    name = "coverage"
    title = "Catalogue coverage"
    formula = "items within the first k of at least one user, divided by I"
    edges = "Depends on the number of users; compare it on the same users only."

    def value(self, sums: "Tensor") -> "Tensor":
        """See `formula`."""
        return (sums > 0).double().mean(dim=1)


class Novelty(CatalogueMetric):
    """Mean self-information of a recommended item."""

    name = "novelty"
    title = "Mean self-information (Zhou et al., PNAS 2010)"
    formula = (
        "mean of −log2(max(n_i, 1) / Σ_j n_j) over all recommended (user, item) pairs within k"
    )
    edges = (
        "An item without training interactions counts as seen once. Not a number where every item "
        "is masked for everyone."
    )

    def build(self, inputs: "MetricInputs") -> None:
        """Computes the self-information of each item."""
        popularity = inputs.popularity.double()
        self._information = popularity.sum().log2() - popularity.clamp_min(1).log2()

    def value(self, sums: "Tensor") -> "Tensor":
        """See `formula`."""
        return _mean_of_recommended(sums, self._information)


class Popularity(CatalogueMetric):
    """Mean number of training interactions of a recommended item."""

    name = "popularity"
    title = "Popularity bias"
    formula = "mean of n_i over all recommended (user, item) pairs within k"
    edges = "Not a number where every item is masked for everyone."

    def build(self, inputs: "MetricInputs") -> None:
        """Keeps the training interactions of each item."""
        self._popularity = inputs.popularity.double()

    def value(self, sums: "Tensor") -> "Tensor":
        """See `formula`."""
        return _mean_of_recommended(sums, self._popularity)


def _mean_of_recommended(counts: "Tensor", of_item: "Tensor") -> "Tensor":
    """Mean over all recommended pairs of a value ``[I]`` of each item; not a number for no pair."""
    counts = counts.double()
    return (counts * of_item).sum(dim=1) / counts.sum(dim=1)
