"""What the tests of metrics have in common: users with lists, and everything that is measured."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from slifmr_pl.metrics.definitions import BUILT_IN, built_in_metrics
from slifmr_pl.metrics.metric import UserMetric
from slifmr_pl.metrics.metric_inputs import MetricInputs
from slifmr_pl.metrics.ranked_lists import RankedLists
from slifmr_pl.metrics.ranking_metrics import RankingMetrics

Users = tuple[Tensor, Tensor, Tensor, Tensor]  # arguments of RankingMetrics.update
ACCURACY = tuple(kind.name for kind in BUILT_IN if issubclass(kind, UserMetric))


def accuracy(lists: RankedLists) -> dict[str, Tensor]:
    """All accuracy metrics of single users."""
    return {
        metric.name: metric.values(lists)
        for metric in built_in_metrics()
        if isinstance(metric, UserMetric)
    }


def all_metrics(
    ks: Sequence[int], n_items: int, popularity: Tensor | None = None
) -> RankingMetrics:
    """The state of all built-in metrics."""
    if popularity is None:
        popularity = torch.ones(n_items, dtype=torch.int64)
    return RankingMetrics(built_in_metrics(), ks, MetricInputs(popularity))


def as_users(rankings: list[list[int]], relevant: list[list[int]], width: int) -> Users:
    padded = [ranked[:width] + [-1] * (width - len(ranked[:width])) for ranked in rankings]
    counts = torch.tensor([0, *map(len, relevant)], dtype=torch.int64)
    items = [item for wanted in relevant for item in sorted(wanted)]
    return (
        torch.tensor(padded, dtype=torch.int64).view(len(rankings), width),
        counts.cumsum(dim=0),
        torch.tensor(items, dtype=torch.int64),
        torch.arange(len(rankings)),
    )


def random_users(n_users: int, n_items: int, width: int, seed: int = 0) -> Users:
    """Users with 0 to 4 relevant items and 0 to `width` recommended ones."""
    rng = torch.Generator().manual_seed(seed)
    rankings, relevant = [], []
    for _ in range(n_users):
        length = int(torch.randint(0, width + 1, (1,), generator=rng))
        rankings.append(torch.randperm(n_items, generator=rng)[:length].tolist())
        n_relevant = int(torch.randint(0, 5, (1,), generator=rng))
        relevant.append(torch.randperm(n_items, generator=rng)[:n_relevant].tolist())
    return as_users(rankings, relevant, width)


def users_from_to(users: Users, first: int, last: int) -> Users:
    recommended, offsets, items, rows = users
    part = offsets[first : last + 1]
    return (
        recommended[first:last],
        part - part[0],
        items[int(part[0]) : int(part[-1])],
        rows[first:last],
    )


def values_of_two_processes(
    new_metrics: Callable[[], RankingMetrics], users: Users, cuts: tuple[int, ...], folder: Path
) -> Iterator[dict[str, Tensor]]:
    """The values in each process: for every cut, rank 0 takes the users before it, rank 1 the rest.

    `new_metrics` is a function of a module.
    """
    spawn(_evaluate_shards, (new_metrics, users, cuts, folder), nprocs=2)
    for rank in range(2):
        yield from torch.load(folder / f"rank{rank}.pt", weights_only=True)


def _evaluate_shards(
    rank: int,
    new_metrics: Callable[[], RankingMetrics],
    users: Users,
    cuts: tuple[int, ...],
    folder: Path,
) -> None:
    dist.init_process_group(
        "gloo", init_method=(folder / "rendezvous").as_uri(), rank=rank, world_size=2
    )
    results = []
    for cut in cuts:
        first, last = ((0, cut), (cut, len(users[0])))[rank]
        metrics = new_metrics()
        if first < last:
            metrics.update(*users_from_to(users, first, last))
        results.append(metrics.compute())
    torch.save(results, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


def popularity_of(n_items: int) -> Tensor:
    return torch.arange(n_items) ** 2 % 7


def assert_same(values: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Equal up to the rounding of sums in another order."""
    assert list(values) == list(expected)
    for name, value in values.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-13, atol=0, equal_nan=True)
