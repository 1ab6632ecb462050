"""The state of an evaluation: sums and counts of any list of metrics.

Shapes: B users of one update, K recommended items a user, I items, C cut-offs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from slifmr_pl.config.parts import class_path
from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.metrics.metric import CatalogueMetric, RankingMetric, UserMetric, check_metrics
from slifmr_pl.metrics.metric_inputs import MetricInputs
from slifmr_pl.metrics.ranked_lists import RankedLists, check_cutoffs, ranked_lists


class UserValues(NamedTuple):
    """Metrics of those b users of a batch who have relevant items.

    Attributes:
        users: int64 ``[b]``, rows of the users in the data.
        relevant: int64 ``[b]``, number of relevant items.
        metrics: float64 ``[b, C]`` by name of the metric.
    """

    users: Tensor
    relevant: Tensor
    metrics: dict[str, Tensor]


class RankingMetrics(Metric):
    """Values of several metrics, over the users of all updates, objects and processes.

    Users without relevant items are left out of everything and counted. All states are sums and
    counts: memory does not grow with the users, and any split of the users over updates, objects
    or processes gives the same values (up to the rounding of float64 sums).

    Args:
        metrics: What is measured; each is built here, for the device of `inputs`.
        ks: Cut-offs, each at least 1; distinct.
        inputs: What the metrics may know of the data.
        **kwargs: See ``torchmetrics.Metric``.

    Raises:
        ConfigError: If cut-offs are out of range, names clash, or a metric breaks its contract.
    """

    is_differentiable = False
    higher_is_better = None  # not one direction: popularity is neither good nor bad
    full_state_update = False

    user_sums: Tensor
    users: Tensor
    users_without_relevant: Tensor

    def __init__(
        self,
        metrics: Sequence[RankingMetric],
        ks: Sequence[int],
        inputs: MetricInputs,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cutoffs(ks)
        check_metrics(metrics)
        self.ks = tuple(ks)
        self.inputs = inputs
        self.metrics = tuple(metrics)
        self._of_users = [metric for metric in metrics if isinstance(metric, UserMetric)]
        self._of_catalogue = [metric for metric in metrics if isinstance(metric, CatalogueMetric)]
        for metric in metrics:
            metric.build(inputs)
        self._open_states()
        self.to(inputs.device)

    def _open_states(self) -> None:
        device = self.inputs.device
        zeros = torch.zeros(len(self._of_users), len(self.ks), dtype=torch.float64, device=device)
        self.add_state("user_sums", zeros, dist_reduce_fx="sum")
        nothing = torch.empty(0, dtype=torch.int64, device=device)
        nobody = ranked_lists(
            nothing.view(0, self.inputs.n_items),
            nothing.new_zeros(1),
            nothing,
            nothing,
            ks=self.ks,
            n_items=self.inputs.n_items,
        )
        # A process that evaluates nobody takes part in the sums, so it needs states of their shape.
        for name, sums in self._catalogue_sums(nobody).items():
            self.add_state(name, sums, dist_reduce_fx="sum")
        self.add_state("users", torch.tensor(0, device=device), dist_reduce_fx="sum")
        self.add_state(
            "users_without_relevant", torch.tensor(0, device=device), dist_reduce_fx="sum"
        )

    @property
    def n_users(self) -> int:
        """Users that count, those of this process (``compute`` returns all processes')."""
        return int(self.users)

    @property
    def n_users_without_relevant(self) -> int:
        """Users that are left out, those of this process (``compute`` returns all processes')."""
        return int(self.users_without_relevant)

    def update(
        self, recommended: Tensor, relevant_offsets: Tensor, relevant_items: Tensor, users: Tensor
    ) -> None:
        """Adds users; for arguments and errors see `ranked_lists`.

        Raises:
            ConfigError: If a metric breaks its contract, too.
        """
        lists = self._lists(recommended, relevant_offsets, relevant_items, users)
        values = self._values(lists)
        sums = self._catalogue_sums(lists)
        # Not in place: after an evaluation in inference mode, states must not be written to.
        if values:
            self.user_sums = self.user_sums + torch.stack(
                [of_users.sum(dim=0) for of_users in values.values()]
            )
        for name, added in sums.items():
            setattr(self, name, getattr(self, name) + added)
        counted = len(lists.users)
        self.users = self.users + counted
        self.users_without_relevant = self.users_without_relevant + len(recommended) - counted

    def user_values(
        self, recommended: Tensor, relevant_offsets: Tensor, relevant_items: Tensor, users: Tensor
    ) -> UserValues:
        """The values whose sums ``update`` adds, user by user; changes no state.

        Args and errors are those of ``update``. Users without relevant items are left out.
        """
        lists = self._lists(recommended, relevant_offsets, relevant_items, users)
        return UserValues(lists.users, lists.relevant, self._values(lists))

    def compute(self) -> dict[str, Tensor]:
        """Float64 scalars: ``"<metric>@<k>"``, ``"n_users"`` and ``"n_users_without_relevant"``.

        Raises:
            DataError: If no user with relevant items was added.
            ConfigError: If a metric breaks its contract.
        """
        if self.n_users == 0:
            raise DataError(
                "no user with relevant items was evaluated"
                f" ({self.n_users_without_relevant} users had none)",
                expected="at least one user with a relevant item",
                fix="check that the split leaves evaluation interactions of known users and items",
            )
        names = [metric.name for metric in self._of_users]
        means = dict(zip(names, self.user_sums / self.users, strict=True))
        table = {
            metric.name: self._value(metric)
            if isinstance(metric, CatalogueMetric)
            else means[metric.name]
            for metric in self.metrics
        }
        result = {
            f"{name}@{k}": values[column]
            for name, values in table.items()
            for column, k in enumerate(self.ks)
        }
        result["n_users"] = self.users.double()
        result["n_users_without_relevant"] = self.users_without_relevant.double()
        return result

    def _lists(
        self, recommended: Tensor, relevant_offsets: Tensor, relevant_items: Tensor, users: Tensor
    ) -> RankedLists:
        return ranked_lists(
            recommended,
            relevant_offsets,
            relevant_items,
            users,
            ks=self.ks,
            n_items=self.inputs.n_items,
        )

    def _values(self, lists: RankedLists) -> dict[str, Tensor]:
        """Values of the users by metric, float64 ``[B, C]``."""
        result = {}
        shape = len(lists.users), len(self.ks)
        for metric in self._of_users:
            values = metric.values(lists)
            _require(metric, "values", values, shape)
            if not bool(values.isfinite().all()):
                row = int((~values.isfinite()).any(dim=1).nonzero()[0])
                raise ConfigError(
                    f"{class_path(type(metric))}.values is {values[row].tolist()} for the items"
                    f" {lists.items[row].tolist()}",
                    expected="a finite value for every user, or their mean would be none",
                    fix="say in `edges` what holds for lists without a value, for example 0",
                )
            result[metric.name] = values
        return result

    def _catalogue_sums(self, lists: RankedLists) -> dict[str, Tensor]:
        """What is added up over users, by name of the state."""
        result: dict[str, Tensor] = {}
        for metric in self._of_catalogue:
            name = _state_of(metric)
            if name in result:
                continue
            sums = metric.sums(lists)
            added_up = getattr(self, name, None)
            if added_up is None:
                _require_zeros(metric, sums)
            elif sums.shape != added_up.shape or sums.dtype != added_up.dtype:
                raise ConfigError(
                    f"{class_path(type(metric))}.sums is {_described(sums)}, and for no users it is"
                    f" {_described(added_up)}",
                    expected="one shape and dtype for any users: sums over them",
                    fix="sum over the dimension of the users",
                )
            result[name] = sums
        return result

    def _value(self, metric: CatalogueMetric) -> Tensor:
        value = metric.value(getattr(self, _state_of(metric)))
        _require(metric, "value", value, (len(self.ks),))
        return value


def _state_of(metric: CatalogueMetric) -> str:
    """Metrics that keep the default share one state."""
    if type(metric).sums is CatalogueMetric.sums:
        return "recommended_counts"
    return f"sums of {metric.name}"


def _require(metric: RankingMetric, method: str, values: Tensor, shape: tuple[int, ...]) -> None:
    if values.dtype != torch.float64 or values.shape != shape:
        raise ConfigError(
            f"{class_path(type(metric))}.{method} is {_described(values)}",
            expected=f"float64 of shape {shape}: a value at each cut-off",
            fix="end with .double(), and keep the cut-offs in the last dimension",
        )


def _require_zeros(metric: CatalogueMetric, sums: Tensor) -> None:
    if sums.dtype not in (torch.float64, torch.int64) or bool((sums != 0).any()):
        raise ConfigError(
            f"{class_path(type(metric))}.sums of no users is {_described(sums)}"
            + (" and not 0" if bool((sums != 0).any()) else ""),
            expected="float64 or int64 zeros: what is added up over users",
            fix="sum over the dimension of the users, and leave the rest to `value`",
        )


def _described(values: Tensor) -> str:
    return f"{values.dtype} of shape {tuple(values.shape)}"
