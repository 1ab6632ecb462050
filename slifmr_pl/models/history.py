"""How somebody whom training has not seen gets a vector, from the rows of their items.

I items, n items of one user, d size of a representation, r rank of the regression.
"""

from dataclasses import dataclass

from torch import Tensor

from slifmr_pl.regression.item_regression import RegressionFactors, append_regression


@dataclass(frozen=True, eq=False)
class HistoryEncoding:
    """Sums over the items that somebody has; tables alone, so that an export can hold it.

    Attributes:
        items: Representations that the query meets, float [I, d].
        messages: What each item sends, float [I, d]; summed and divided by √n.
        means: What is averaged over the items and added, float [I, d]; None for nothing.
        regression: Its factors, appended to the query as `append_regression` does; None without.
    """

    items: Tensor
    messages: Tensor
    means: Tensor | None = None
    regression: RegressionFactors | None = None

    def __call__(self, rows: Tensor) -> Tensor:
        """The vector of somebody with the items int64 [n], distinct rows: float [d] or [d + r]."""
        query: Tensor = self.messages[rows].sum(0) / len(rows) ** 0.5
        if self.means is not None:
            query = query + self.means[rows].mean(0)
        if self.regression is None:
            return query
        own = self.regression.of_history(rows)
        return append_regression(query.unsqueeze(0), self.items, own)[0][0]
