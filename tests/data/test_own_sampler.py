"""A sampler of a user's own: negatives by popularity, as plain as a user would write them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from slifmr_pl.data.batches import TrainBatch, TrainBatches
from slifmr_pl.data.interactions import Interactions, UserItems
from slifmr_pl.data.sampler import NegativeSampler, UniformSampler
from slifmr_pl.datamodule import data_module
from slifmr_pl.errors import CheckpointError, ConfigError
from tests.extending.parts.popularity_sampler import PopularitySampler
from tests.tiny_runs import demo_data, every_epoch, full_model, state, trainer

N_USERS, N_ITEMS = 12, 15


def train_pairs() -> Interactions:
    flat = np.sort(np.random.default_rng(3).choice(N_USERS * N_ITEMS, 53, replace=False))
    full = np.arange(N_ITEMS)  # the last user has every item
    users = np.concatenate([flat // N_ITEMS, np.full(N_ITEMS, N_USERS)])
    return Interactions(users, np.concatenate([flat % N_ITEMS, full]))


def batches(sampler: NegativeSampler, **options: Any) -> TrainBatches:
    train = train_pairs()
    built = sampler.built(UserItems.of(N_USERS + 1, train), N_ITEMS)
    return TrainBatches(train, built, **{"batch_size": 10, "n_negatives": 40, **options})


def test_popular_items_are_drawn_more_often_and_positives_are_not() -> None:
    train = train_pairs()
    known = set(zip(train.users.tolist(), train.items.tolist(), strict=True))
    epoch = list(batches(PopularitySampler(2.0)))
    pairs = [
        (user, item)
        for batch in epoch
        for user, items in zip(batch.users.tolist(), batch.negatives.tolist(), strict=True)
        for item in items
    ]
    share_of_positives = sum(pair in known for pair in pairs) / len(pairs)
    assert share_of_positives < 0.01
    assert N_USERS not in {user for user, _ in pairs}  # who has no negative
    counts = np.bincount(train.items, minlength=N_ITEMS)
    drawn = np.bincount([item for _, item in pairs], minlength=N_ITEMS)
    order = np.argsort(counts)
    assert drawn[order[-5:]].sum() > 1.5 * drawn[order[:5]].sum()


@pytest.mark.parametrize("sampler", [PopularitySampler(), UniformSampler()])
def test_two_processes_train_on_the_batches_of_one(sampler: NegativeSampler) -> None:
    whole = list(batches(sampler))
    parts = [list(batches(sampler, rank=rank, world_size=2)) for rank in range(2)]
    for one, first, second in zip(whole, *parts, strict=True):
        for name in ("users", "positives", "negatives"):
            both = torch.cat([getattr(first, name), getattr(second, name)])
            assert torch.equal(getattr(one, name), both)


def test_loader_goes_on_in_the_middle_of_an_epoch_with_the_same_sampler_alone() -> None:
    loader = batches(PopularitySampler(0.5))
    epoch = iter(loader)
    for _ in range(2):
        next(epoch)
    saved = loader.state_dict()
    again = batches(PopularitySampler(0.5))
    again.load_state_dict(saved)
    rest: list[TrainBatch] = list(again)
    assert [b.negatives.tolist() for b in rest] == [b.negatives.tolist() for b in epoch]
    for other in (PopularitySampler(0.6), UniformSampler()):
        with pytest.raises(CheckpointError, match="sampler"):
            batches(other).load_state_dict(saved)


def test_state_of_a_time_before_samplers_is_of_uniform_negatives() -> None:
    saved = {**batches(UniformSampler()).state_dict(), "position": 2}
    del saved["sampler"]
    batches(UniformSampler()).load_state_dict(saved)
    with pytest.raises(CheckpointError, match="sampler"):
        batches(PopularitySampler()).load_state_dict(saved)


class Wrong(NegativeSampler):
    def __init__(self, items: list[list[int]]) -> None:
        self.items = items

    def sample(
        self, users: Tensor, positives: Tensor, n: int, generator: torch.Generator
    ) -> Tensor:
        return torch.tensor(self.items).expand(len(users), -1)


@pytest.mark.parametrize(("row", "found"), [([0, 15], "items 0 to 15"), ([0], r"\[\d+, 1\]")])
def test_what_a_sampler_may_not_give_is_refused(row: list[int], found: str) -> None:
    with pytest.raises(ConfigError, match=rf"Wrong.sample gave .*{found}"):
        next(iter(batches(Wrong([row]), n_negatives=2)))


def test_is_positive_knows_every_pair() -> None:
    train = train_pairs()
    sampler = UniformSampler().built(UserItems.of(N_USERS + 1, train), N_ITEMS)
    users = torch.arange(N_USERS + 1)
    is_positive = sampler.is_positive(users, torch.arange(N_ITEMS).expand(len(users), -1))
    expected = torch.zeros(N_USERS + 1, N_ITEMS, dtype=torch.bool)
    expected[train.users, train.items] = True
    assert torch.equal(is_positive, expected)


def test_run_with_an_own_sampler_resumes_in_the_middle_of_an_epoch(
    catalogue: Path, tmp_path: Path
) -> None:
    def data() -> Any:
        return demo_data(catalogue, modalities={}, sampler=PopularitySampler(0.5))

    straight = full_model()
    trainer(tmp_path / "straight", 2).fit(straight, datamodule=data())
    kept = every_epoch(tmp_path, every_n_train_steps=3)
    kept.filename = "{step}"
    trainer(tmp_path / "stopped", 2, kept, max_steps=3).fit(full_model(), datamodule=data())
    resumed = full_model()
    trainer(tmp_path / "resumed", 2).fit(
        resumed, datamodule=data(), ckpt_path=tmp_path / "step=3.ckpt", weights_only=True
    )
    other = demo_data(catalogue, modalities={})
    with pytest.raises(CheckpointError, match="PopularitySampler"):
        trainer(tmp_path / "other", 2).fit(
            full_model(), datamodule=other, ckpt_path=tmp_path / "step=3.ckpt", weights_only=True
        )
    expected, actual = state(straight), state(resumed)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_own_sampler_is_named_in_a_configuration(catalogue: Path) -> None:
    sampler = {
        "class_path": f"{PopularitySampler.__module__}.PopularitySampler",
        "init_args": {"power": 0.25},
    }
    module = data_module({"data": {"root": str(catalogue), "sampler": sampler}})
    assert isinstance(module.sampler, PopularitySampler)
    assert module.sampler.power == 0.25
    assert module.train_dataloader().state_dict()["sampler"] == sampler
