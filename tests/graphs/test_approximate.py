import logging
import sys

import pytest
import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.neighbours import Neighbours, NeighbourSearch, cosine_neighbours
from tests.graphs.oracles import generator

K = 5


@pytest.fixture(scope="module")
def features() -> Tensor:
    """2000 rows around 40 centres, one of them zero; some are exact copies."""
    rng = generator(0)
    centres = torch.randn(40, 8, generator=rng)
    rows = centres[torch.randint(0, 40, (2000,), generator=rng)]
    rows += 0.5 * torch.randn(2000, 8, generator=rng)
    rows[1900:] = rows[:100]
    rows[700] = 0
    return rows


@pytest.fixture(scope="module")
def exact(features: Tensor) -> Neighbours:
    return cosine_neighbours(features, K, search=NeighbourSearch("exact"))


def approximate(features: Tensor, recall: float, k: int = K) -> Neighbours:
    return cosine_neighbours(features, k, search=NeighbourSearch("approximate", recall=recall))


def recall_of(found: Neighbours, exact: Neighbours) -> float:
    """Share of the exact neighbours that is found; those as similar as the last count too."""
    last = exact.weights[:, -1:] - 1e-6
    there = exact.indices[:, -1] >= 0
    return float((found.weights >= last)[there].double().mean())


@pytest.mark.parametrize("recall", [0.5, 0.9, 1.0])
def test_the_recall_asked_for_is_reached_and_logged(
    features: Tensor, exact: Neighbours, recall: float, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="slifmr_pl"):
        approximation = approximate(features, recall)
    (line,) = (record for record in caplog.records if record.name.startswith("slifmr_pl"))
    rows, searched, lists, k, logged, sample = line.args
    assert "approximate" in line.message
    assert (rows, k, sample) == (1999, K, 1000)
    assert 1 <= searched <= lists
    assert logged >= recall
    assert recall_of(approximation, exact) == pytest.approx(logged, abs=0.03)


def test_a_low_recall_searches_less(features: Tensor, exact: Neighbours) -> None:
    assert 0.5 <= recall_of(approximate(features, 0.5), exact) < 0.98


def test_full_recall_equals_the_exact_search(features: Tensor, exact: Neighbours) -> None:
    # Rounding differs: rows whose similarities are told apart by rounding alone may be swapped.
    approximation = approximate(features, 1.0)
    torch.testing.assert_close(approximation.weights, exact.weights)
    assert (approximation.indices == exact.indices).double().mean() > 0.99


def test_similarities_are_those_of_the_rows_found(features: Tensor) -> None:
    approximation = approximate(features, 0.5)
    there = approximation.indices >= 0
    other = features[approximation.indices.clamp_min(0)]
    similarities = torch.cosine_similarity(features.unsqueeze(1).expand_as(other), other, dim=2)
    torch.testing.assert_close(approximation.weights[there], similarities[there])
    assert bool((approximation.weights.diff(dim=1) <= 0).all())
    assert not bool((approximation.indices == torch.arange(2000).unsqueeze(1)).any())
    assert not bool((approximation.indices == 700).any())
    assert bool((approximation.indices[700] == -1).all())


def test_the_result_is_the_same_every_time_and_for_every_number_of_threads(
    features: Tensor,
) -> None:
    once = approximate(features, 0.9)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = approximate(features, 0.9)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(once.indices, again.indices)
    assert torch.equal(once.weights, again.weights)


def test_fewer_rows_than_neighbours_are_searched_exactly() -> None:
    features = torch.rand(4, 3, generator=generator(1))
    approximation, expected = approximate(features, 0.5, k=6), cosine_neighbours(features, 6)
    assert torch.equal(approximation.indices, expected.indices)


def test_without_faiss_the_command_that_installs_it_is_named(
    features: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match=r"pip install 'slifmr-pl\[faiss\]'"):
        approximate(features, 0.9)


def test_rows_above_the_limit_are_searched_approximately(
    features: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="slifmr_pl"):
        cosine_neighbours(features, K, search=NeighbourSearch(exact_rows=1999))
        assert not caplog.text
        cosine_neighbours(features, K, search=NeighbourSearch(exact_rows=1998))
    assert "approximate" in caplog.text
