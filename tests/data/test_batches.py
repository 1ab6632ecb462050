import hashlib
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slifmr_pl.data.batches import EvalBatch, EvalBatches, TrainBatch, TrainBatches
from slifmr_pl.data.interactions import Interactions, UserItems
from slifmr_pl.data.sampler import UniformSampler
from slifmr_pl.errors import CheckpointError, ConfigError, DataError

N_USERS, N_ITEMS = 12, 15


def train_pairs(n: int = 53) -> Interactions:
    flat = np.sort(np.random.default_rng(3).choice(N_USERS * N_ITEMS, n, replace=False))
    return Interactions(flat // N_ITEMS, flat % N_ITEMS)


def batches(train: Interactions | None = None, **options: int) -> TrainBatches:
    train = train_pairs() if train is None else train
    sampler = UniformSampler(untrained_items=True).built(UserItems.of(N_USERS, train), N_ITEMS)
    return TrainBatches(train, sampler, **{"batch_size": 10, "n_negatives": 2, **options})


def same(one: list[TrainBatch], other: list[TrainBatch]) -> bool:
    return len(one) == len(other) and all(
        a.n_ranks == b.n_ranks and all(torch.equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))
        for a, b in zip(one, other, strict=True)
    )


def test_batches_are_those_of_earlier_versions() -> None:
    loader = batches()
    loader.set_epoch(1)
    digest = hashlib.sha256()
    for batch in loader:
        for tensor in batch[:3]:
            digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest()[:16] == "d9501c81188381c4"


@given(n=st.integers(1, 60), batch_size=st.integers(1, 70))
@settings(deadline=None)
def test_an_epoch_is_every_pair_once_in_near_equal_batches(n: int, batch_size: int) -> None:
    train = train_pairs(n)
    loader = batches(train, batch_size=batch_size)
    epoch = list(loader)
    sizes = [len(batch.users) for batch in epoch]
    assert len(epoch) == len(loader) == math.ceil(n / batch_size)
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size
    assert sizes == [batch.divisor for batch in epoch]
    assert all(torch.equal(batch.global_positives, batch.positives) for batch in epoch)
    seen = [
        pair for b in epoch for pair in zip(b.users.tolist(), b.positives.tolist(), strict=True)
    ]
    assert sorted(seen) == list(zip(train.users.tolist(), train.items.tolist(), strict=True))


def test_negatives_are_no_positives() -> None:
    train = train_pairs()
    positives = set(zip(train.users.tolist(), train.items.tolist(), strict=True))
    for batch in batches(n_negatives=5):
        assert batch.negatives.shape == (len(batch.users), 5)
        rows = zip(batch.users.tolist(), batch.negatives.tolist(), strict=True)
        assert not {(user, item) for user, items in rows for item in items} & positives


@given(world_size=st.integers(1, 13), epoch=st.integers(0, 3))
@settings(deadline=None)
def test_every_world_size_sees_the_same_global_batches(world_size: int, epoch: int) -> None:
    loaders = [batches(rank=rank, world_size=world_size) for rank in range(world_size)]
    whole = batches()
    for loader in (*loaders, whole):
        loader.set_epoch(epoch)
    for expected, *shares in zip(whole, *loaders, strict=True):
        sizes = [len(share.users) for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert {share.divisor for share in shares} == {len(expected.users) / world_size}
        for share in shares:
            assert torch.equal(share.global_positives, expected.positives)
            assert torch.equal(share.global_users, expected.users)
        for name in ("users", "positives", "negatives"):
            joined = torch.cat([getattr(share, name) for share in shares])
            assert torch.equal(joined, getattr(expected, name))


def test_batches_follow_seed_and_epoch_alone() -> None:
    loader, again = batches(), batches()
    first = list(loader)
    assert same(first, list(loader))  # nothing is left behind by an iteration
    loader.set_epoch(1)
    again.set_epoch(1)
    torch.manual_seed(9)
    second = list(loader)
    assert same(second, list(again))
    assert not same(first, second)
    assert not same(first, list(batches(seed=1)))
    assert not torch.equal(
        torch.cat([b.negatives for b in first]).sort().values,
        torch.cat([b.negatives for b in second]).sort().values,
    )


def test_the_epoch_is_read_at_the_first_batch() -> None:
    loader, expected = batches(), batches()
    iterator = iter(loader)
    loader.set_epoch(4)
    expected.set_epoch(4)
    assert same(list(iterator), list(expected))


@pytest.mark.parametrize("taken", [0, 1, 4, 6])
def test_a_loaded_state_goes_on_at_the_next_batch(taken: int) -> None:
    loader = batches()
    loader.set_epoch(2)
    iterator = iter(loader)
    for _ in range(taken):
        next(iterator)
    state = loader.state_dict()
    assert (state["epoch"], state["position"]) == (2, taken)
    assert all(type(value) is int for name, value in state.items() if name != "sampler")
    assert json.loads(json.dumps(state)) == state
    resumed = batches()
    resumed.load_state_dict(state)
    waiting = iter(resumed)
    resumed.set_epoch(2)
    assert resumed.state_dict() == state
    assert same(list(waiting), list(iterator))
    resumed.set_epoch(3)
    loader.set_epoch(3)
    assert same(list(resumed), list(loader))
    assert len(list(resumed)) == 6


def test_another_epoch_than_the_loaded_one_starts_at_its_first_batch() -> None:
    loader = batches()
    loader.load_state_dict({**loader.state_dict(), "position": 6})
    loader.set_epoch(1)
    assert len(list(loader)) == 6


def test_a_state_in_the_middle_of_other_batches_is_an_error() -> None:
    state = {**batches().state_dict(), "position": 2}
    with pytest.raises(CheckpointError, match="seed 2026, now 7"):
        batches(seed=7).load_state_dict(state)
    with pytest.raises(CheckpointError, match="batches 6, now 3"):
        batches(batch_size=20).load_state_dict(state)
    with pytest.raises(CheckpointError, match="a loader state without batches, n_negatives"):
        batches().load_state_dict({"epoch": 1})
    batches(batch_size=20).load_state_dict({**state, "position": 6})  # at the end nothing is lost


def test_users_with_every_item_are_left_out() -> None:
    full = Interactions(np.zeros(N_ITEMS, np.int64), np.arange(N_ITEMS))
    train = Interactions(np.append(full.users, 1), np.append(full.items, 3))
    loader = batches(train)
    assert loader.left_out == N_ITEMS
    assert [batch.users.tolist() for batch in loader] == [[1]]
    with pytest.raises(DataError, match="none of 15 training pairs"):
        batches(full)


@pytest.mark.parametrize(
    "option",
    [{"batch_size": 0}, {"n_negatives": 0}, {"world_size": 0}, {"rank": 1}, {"seed": -1}],
)
def test_arguments_out_of_range_are_errors(option: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        batches(**option)


@given(
    n=st.integers(0, N_USERS),
    batch_size=st.integers(1, 5),
    world_size=st.integers(1, N_USERS + 3),
)
@settings(deadline=None)
def test_each_user_is_evaluated_once_over_all_ranks(
    n: int, batch_size: int, world_size: int
) -> None:
    users = np.random.default_rng(0).permutation(N_USERS)[:n]
    known = UserItems.of(N_USERS, train_pairs(60))
    relevant = UserItems.of(N_USERS, train_pairs(20))
    evaluated: list[int] = []
    for rank in range(world_size):
        loader = EvalBatches(
            users, known, relevant, batch_size=batch_size, rank=rank, world_size=world_size
        )
        shares = list(loader)
        assert len(shares) == len(loader) >= 1
        for batch in shares:
            assert len(batch.users) <= batch_size
            check_rows(batch, known, relevant)
            evaluated += batch.users.tolist()
    assert evaluated == users.tolist()


def check_rows(batch: EvalBatch, known: UserItems, relevant: UserItems) -> None:
    assert {tensor.dtype for tensor in batch} == {torch.int64}
    for offsets, items, source in (
        (batch.known_offsets, batch.known_items, known),
        (batch.relevant_offsets, batch.relevant_items, relevant),
    ):
        assert len(offsets) == len(batch.users) + 1
        for row, user in enumerate(batch.users.tolist()):
            expected = source.items[source.offsets[user] : source.offsets[user + 1]]
            assert items[offsets[row] : offsets[row + 1]].tolist() == expected.tolist()
