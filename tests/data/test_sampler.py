import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slifmr_pl.data.interactions import Interactions, UserItems
from slifmr_pl.data.sampler import UniformSampler
from slifmr_pl.errors import DataError

N_USERS, N_ITEMS = 4, 7
POSITIVES = st.sets(st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1)))


def sampler_of(positives: set[tuple[int, int]], *, untrained_items: bool = True) -> UniformSampler:
    array = np.array(sorted(positives), dtype=np.int64).reshape(-1, 2)
    return UniformSampler(untrained_items).built(
        UserItems.of(N_USERS, Interactions(array[:, 0], array[:, 1])), N_ITEMS
    )


@given(positives=POSITIVES, untrained=st.booleans())
def test_ranks_are_a_bijection_to_the_negatives(
    positives: set[tuple[int, int]], untrained: bool
) -> None:
    sampler = sampler_of(positives, untrained_items=untrained)
    trained = {item for _, item in positives}
    drawn = [item for item in range(N_ITEMS) if untrained or item in trained]
    for user in range(N_USERS):
        negatives = [item for item in drawn if (user, item) not in positives]
        assert bool(sampler.has_negatives[user]) == bool(negatives)
        if negatives:
            # One draw in the middle of each of the equal intervals.
            draws = (torch.arange(len(negatives), dtype=torch.float64) + 0.5) / len(negatives)
            assert sampler.at(torch.tensor([user]), draws[None]).tolist() == [negatives]


@given(positives=POSITIVES)
def test_the_ends_of_the_draws_are_the_first_and_last_negative(
    positives: set[tuple[int, int]],
) -> None:
    sampler = sampler_of(positives)
    users = torch.nonzero(sampler.has_negatives).flatten()
    ends = torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64).expand(len(users), 2)
    for user, (first, last) in zip(users.tolist(), sampler.at(users, ends).tolist(), strict=True):
        negatives = [item for item in range(N_ITEMS) if (user, item) not in positives]
        assert (first, last) == (negatives[0], negatives[-1])


def test_negatives_are_uniform() -> None:
    sampler = sampler_of({(0, 0), (0, 1), (0, 5), (2, 6)})
    users = torch.tensor([0, 2])
    sample = sampler.sample(users, users, 100_000, torch.Generator().manual_seed(0))
    assert sample.shape == (2, 100_000)
    assert sample.dtype == torch.int64
    shares = torch.stack([row.bincount(minlength=N_ITEMS) for row in sample]) / 100_000
    expected = torch.tensor([[0, 0, 1, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1, 0]]) / torch.tensor(
        [[4], [6]]
    )
    torch.testing.assert_close(shares, expected, atol=0.006, rtol=0)  # above 4 deviations


def test_equal_generators_give_equal_negatives() -> None:
    sampler = sampler_of({(1, 3)})
    users = torch.arange(4)
    one, again, other = (
        sampler.sample(users, users, 20, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_keys_of_many_users_and_items_do_not_overflow() -> None:
    n_items = 5_000_000
    users = np.array([0, 999_999], dtype=np.int64)
    positives = UserItems.of(1_000_000, Interactions(users, np.array([0, n_items - 1])))
    sampler = UniformSampler(untrained_items=True).built(positives, n_items)
    ends = torch.tensor([[0.0, 1 - 2.0**-53]] * 2, dtype=torch.float64)
    assert sampler.at(torch.from_numpy(users), ends).tolist() == [
        [1, n_items - 1],
        [0, n_items - 2],
    ]


def test_a_user_with_every_item_is_an_error() -> None:
    sampler = sampler_of({(1, item) for item in range(N_ITEMS)})
    with pytest.raises(DataError, match="user row 1 has interacted with every item"):
        sampler.sample(torch.tensor([0, 1]), torch.tensor([0, 1]), 2, torch.Generator())


def test_items_that_nobody_trained_on_are_no_negatives_by_default() -> None:
    positives = {(0, 1), (1, 3), (2, 5)}
    sampler = sampler_of(positives, untrained_items=False)
    users = torch.tensor([0, 1, 2])
    drawn = sampler.sample(users, users, 200, torch.Generator().manual_seed(0))
    assert [row.unique().tolist() for row in drawn] == [[3, 5], [1, 5], [1, 3]]
    both = {(0, 1), (0, 3), (1, 3)}
    assert sampler_of(both, untrained_items=False).has_negatives.tolist() == [False, *[True] * 3]
    with pytest.raises(DataError, match="every item that is drawn"):
        sampler_of(both, untrained_items=False).sample(users, users, 2, torch.Generator())
