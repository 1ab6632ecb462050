"""What a metric is: one class, with its formula and its definition.

Shapes: B users, K places of a list, C cut-offs k, I items.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from slifmr_pl.config.parts import Part, class_path
from slifmr_pl.errors import ConfigError

if TYPE_CHECKING:  # the definitions are printed without waiting for torch
    from torch import Tensor

    from slifmr_pl.metrics.metric_inputs import MetricInputs
    from slifmr_pl.metrics.ranked_lists import RankedLists

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


class Example(NamedTuple):
    """A list of one user, and the value of the metric for it.

    Attributes:
        hits: h_1, h_2 and so on; ranks beyond are misses.
        relevant: R.
        k: Cut-off.
        value: The metric, to four decimals.
        note: What the example shows.
    """

    hits: tuple[int, ...]
    relevant: int
    k: int
    value: float
    note: str


class RankingMetric(Part):
    """A metric of ranked lists at cut-offs k; subclass `UserMetric` or `CatalogueMetric`.

    The class attributes are its definition, as `slifmr metrics` prints it; only `name` is needed.
    A constructor may set another `name` for an instance, for example one of its modality.

    Attributes:
        name: As in `NAME@K`.
        title: Its full name.
        formula: Of one user or, for a `CatalogueMetric`, of all users together.
        edges: What holds at the edges.
        higher_is_better: None where neither direction is better by itself.
        examples: Hand-computed values of metrics that follow from the hits alone.
    """

    name: str = ""
    title: str = ""
    formula: str = ""
    edges: str = ""
    higher_is_better: bool | None = None
    examples: tuple[Example, ...] = ()

    def build(self, inputs: "MetricInputs") -> None:
        """Prepares what the metric needs besides the lists; by default nothing.

        Called before anything is computed, and again for other data or another device.

        Args:
            inputs: Popularity, features and graphs of the data. Tensors made from them are on the
                device that the lists will be on.
        """


class UserMetric(RankingMetric, ABC):
    """A metric with a value for each user; what is reported is the mean over users.

    The values of single users are written to `per_user.parquet`, and `compare` tests their
    differences.
    """

    @abstractmethod
    def values(self, lists: "RankedLists") -> "Tensor":
        """The value of each user at each cut-off.

        Args:
            lists: Ranked lists of B users, each of whom has relevant items.

        Returns:
            float64 ``[B, C]``, finite: where a value is undefined, such as for an empty list, it is
            whatever `edges` says.
        """


class CatalogueMetric(RankingMetric, ABC):
    """A metric of all users together, which follows from sums over users.

    Sums are what keeps it the same for every batching of the users and number of processes.
    """

    def sums(self, lists: "RankedLists") -> "Tensor":
        """What is added up over users; by default how often each item is recommended.

        Args:
            lists: Ranked lists of B users, each of whom has relevant items; B may be 0.

        Returns:
            int64 or float64 of one shape for any lists, and zeros for no users. By default int64
            ``[C, I]``: how many of the users have the item within the first k.
        """
        return lists.recommended_counts

    @abstractmethod
    def value(self, sums: "Tensor") -> "Tensor":
        """The value at each cut-off.

        Args:
            sums: What `sums` gives, added up over all users.

        Returns:
            float64 ``[C]``; not a number where it is undefined.
        """


def check_metrics(metrics: Sequence[RankingMetric]) -> None:
    """Refuses metrics that could not be computed, or not be told apart in results.

    Raises:
        ConfigError: If one is of neither kind, or its name is empty, not made of letters, digits
            and `_.-`, or repeated.
    """
    kinds: dict[str, str] = {}
    for metric in metrics:
        name, kind = metric.name, class_path(type(metric))
        if not isinstance(metric, UserMetric | CatalogueMetric):
            raise ConfigError(
                f"the metric {kind} is a RankingMetric",
                expected="a UserMetric, with `values`, or a CatalogueMetric, with `value`",
                fix="make one of them the base of the class",
            )
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"the metric {kind} has the name {name!r}",
                expected="letters, digits and _ . -, beginning with a letter",
                fix='set `name = "diversity"` in the class, or whatever it measures',
            )
        if name in kinds:
            raise ConfigError(
                f"{kinds[name]} and {kind} are both called {name}",
                expected="metrics of different names",
                fix="set another `name`, in the class or in its constructor",
            )
        kinds[name] = kind
