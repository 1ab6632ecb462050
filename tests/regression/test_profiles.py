import numpy as np
import pytest
import torch

from slifmr_pl.graphs.model_inputs import ItemFeatures
from slifmr_pl.graphs.triples import DirectedTriples
from slifmr_pl.regression.profiles import SharedFacts, directions, facts_of, leading_directions
from tests.graphs.oracles import generator


def test_directions_are_seen_from_the_mean_of_items_that_have_the_modality() -> None:
    values = torch.randn(5, 3, generator=generator(0))
    present = torch.tensor([True, True, False, True, True])
    vectors = directions(ItemFeatures(values, present))
    expected = torch.nn.functional.normalize(values - values[present].mean(0))
    torch.testing.assert_close(vectors[present], expected[present])
    assert not vectors[2].any()


def test_zeros_that_stand_for_features_lie_nowhere() -> None:
    values = torch.randn(6, 3, generator=generator(2)) + 1
    values[4] = 0
    everywhere = ItemFeatures(values, torch.ones(6, dtype=torch.bool))
    masked = ItemFeatures(values, torch.arange(6) != 4)
    torch.testing.assert_close(directions(everywhere), directions(masked))
    nowhere = ItemFeatures(torch.zeros(6, 3), torch.zeros(6, dtype=torch.bool))
    assert not directions(nowhere).any()


def test_directions_are_seen_from_a_mean_that_is_given() -> None:
    values, mean = torch.eye(3), torch.tensor([1.0, 0.0, 0.0])
    vectors = directions(ItemFeatures(values, torch.ones(3, dtype=torch.bool)), mean)
    half = 2**-0.5
    expected = torch.tensor([[0.0, 0.0, 0.0], [-half, half, 0.0], [-half, 0.0, half]])
    torch.testing.assert_close(vectors, expected)


@pytest.mark.parametrize("width", [8, 400])
def test_leading_directions_keep_the_angles_between_items(width: int) -> None:
    """Features of eight dimensions, as they are or rotated into many."""
    rng = generator(1)
    values = torch.randn(300, 8, generator=rng) @ torch.randn(8, width, generator=rng)
    features = ItemFeatures(values, torch.arange(300) != 7)
    vectors, whole = leading_directions(features), directions(features).double().numpy()
    assert vectors.shape == (300, min(width, 256))
    np.testing.assert_allclose(vectors @ vectors.T, whole @ whole.T, atol=1e-5)
    state = torch.get_rng_state()
    assert np.array_equal(leading_directions(features), vectors)
    assert torch.equal(torch.get_rng_state(), state)


def test_facts_of_items_tell_relations_and_directions_apart() -> None:
    # Items 0 and 1, entities 2 and 3.
    heads, relations, tails = torch.tensor([[0, 1, 2], [0, 1, 0], [2, 2, 1]])
    triples = DirectedTriples.bidirectional(heads, relations, tails, 4, 2)
    items, numbers = facts_of(triples, 2)
    assert items.tolist() == [0, 1, 1]
    assert len(set(numbers.tolist())) == 3


def test_profiles_are_unit_vectors_of_shared_facts_in_which_rare_ones_weigh_more() -> None:
    items, numbers = np.array([0, 0, 1, 1, 2, 3]), np.array([10, 20, 10, 20, 10, 99])
    shared = SharedFacts.among((items, numbers), 4)
    assert shared.numbers.tolist() == [10, 20]
    vectors = shared.profiles((items, numbers), 4).toarray()
    rarity = np.log([5 / 3, 5 / 2])
    both = rarity / np.linalg.norm(rarity)
    np.testing.assert_allclose(vectors, [both, both, [1, 0], [0, 0]])


def test_profiles_of_other_items_leave_out_what_is_not_shared() -> None:
    shared = SharedFacts(np.array([10, 20]), np.array([1.0, 2.0]))
    vectors = shared.profiles((np.array([0, 0, 1]), np.array([20, 30, 5])), 2)
    np.testing.assert_allclose(vectors.toarray(), [[0, 1], [0, 0]])
