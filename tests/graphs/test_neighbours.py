import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.graphs.neighbours import NeighbourSearch, cosine_neighbours


def reference_neighbours(
    features: Tensor, k: int, present: Tensor
) -> tuple[list[list[int]], list[list[float]]]:
    """Pure Python in exact order: rows of features are ±1 or zero, so all norms are equal."""
    rows, all_indices, all_weights = features.tolist(), [], []
    for i, row in enumerate(rows):
        ranked = []
        for j, other in enumerate(rows):
            dot = sum(a * b for a, b in zip(row, other, strict=True))
            if i != j and present[i] and present[j] and dot > 0:
                ranked.append((-dot, j, dot / math.hypot(*row) / math.hypot(*other)))
        ranked = sorted(ranked)[:k]
        missing = k - len(ranked)
        all_indices.append([j for _, j, _ in ranked] + [-1] * missing)
        all_weights.append([weight for _, _, weight in ranked] + [0.0] * missing)
    return all_indices, all_weights


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**16), n=st.integers(0, 12), k=st.integers(1, 14))
def test_equals_brute_force_with_ties_missing_and_zero_rows(seed: int, n: int, k: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    # Four entries of ±1: the norm is 2 and all similarities are exact, so ties are real ties.
    features = torch.randint(0, 2, (n, 4), generator=rng).float() * 2 - 1
    features[torch.rand(n, generator=rng) < 0.1] = 0
    present = torch.rand(n, generator=rng) < 0.8
    given_features = features.masked_fill(~present.unsqueeze(1), math.nan)
    result = cosine_neighbours(given_features, k, present=present)
    indices, weights = reference_neighbours(features, k, present)
    assert result.indices.dtype == torch.int64
    assert result.weights.dtype == torch.float32
    assert result.indices.view(n, k).tolist() == indices
    torch.testing.assert_close(result.weights, torch.tensor(weights).view(n, k))


@pytest.mark.parametrize("centre", [False, True])
def test_equals_scikit_learn(centre: bool) -> None:
    features = torch.rand(400, 16, generator=torch.Generator().manual_seed(1)) + 0.1
    result = cosine_neighbours(features, 7, centre=centre)
    raw = features.double().numpy()
    if centre:
        raw = raw - raw.mean(axis=0)
    oracle = NearestNeighbors(n_neighbors=7, metric="cosine", algorithm="brute").fit(raw)
    distances, indices = oracle.kneighbors()  # without an argument: self is left out
    np.testing.assert_array_equal(result.indices.numpy(), indices)
    np.testing.assert_allclose(result.weights.numpy(), 1 - distances, atol=1e-6)


def test_whitened_similarity_equals_scikit_learn_and_outvotes_no_direction() -> None:
    features = torch.randn(300, 8, generator=torch.Generator().manual_seed(3))
    features[:, 0] *= 100  # decides alone what is similar, unless it is whitened
    result = cosine_neighbours(features, 5, whiten=True)
    white = PCA(whiten=True).fit_transform(features.double().numpy())
    oracle = NearestNeighbors(n_neighbors=5, metric="cosine", algorithm="brute").fit(white)
    distances, indices = oracle.kneighbors()
    np.testing.assert_array_equal(result.indices.numpy(), indices)
    np.testing.assert_allclose(result.weights.numpy(), 1 - distances, atol=1e-5)
    assert not torch.equal(result.indices, cosine_neighbours(features, 5, centre=True).indices)


def test_whitening_leaves_out_directions_without_variance() -> None:
    features = torch.randn(50, 3, generator=torch.Generator().manual_seed(4))
    repeated = torch.cat([features, features[:, :1], torch.ones(50, 1)], 1)
    result = cosine_neighbours(repeated, 4, whiten=True)
    torch.testing.assert_close(result, cosine_neighbours(features, 4, whiten=True))


def test_too_few_rows_to_whiten_are_refused() -> None:
    with pytest.raises(DataError, match="more items with features than columns"):
        cosine_neighbours(torch.randn(8, 8), 2, whiten=True)


@pytest.fixture(scope="module")
def catalogue() -> Tensor:
    """Features of 3000 rows: several blocks of columns, with exact copies far apart."""
    features = torch.randn(3000, 8, generator=torch.Generator().manual_seed(2))
    features[2500:] = features[:500]
    features[700] = 0
    return features


def test_result_is_the_same_for_every_memory_budget(catalogue: Tensor) -> None:
    small = cosine_neighbours(catalogue, 10, memory_budget_mb=1)
    large = cosine_neighbours(catalogue, 10, memory_budget_mb=1024)
    assert torch.equal(small.indices, large.indices)
    assert torch.equal(small.weights, large.weights)


def test_exact_copies_are_each_others_nearest_with_weight_one(catalogue: Tensor) -> None:
    result = cosine_neighbours(catalogue, 10, memory_budget_mb=1)
    assert result.indices[:500, 0].tolist() == list(range(2500, 3000))
    assert result.indices[2500:, 0].tolist() == list(range(500))
    assert float(result.weights.max()) <= 1
    assert float(result.weights[:500, 0].min()) > 1 - 1e-6


def test_no_row_is_its_own_neighbour_and_zero_rows_are_nobodys(catalogue: Tensor) -> None:
    result = cosine_neighbours(catalogue, 10)
    assert not bool((result.indices == torch.arange(3000).unsqueeze(1)).any())
    assert not bool((result.indices == 700).any())
    assert bool((result.indices[700] == -1).all())
    assert torch.equal(result.indices == -1, result.weights == 0)


def test_many_rows_alike_are_taken_by_lower_index() -> None:
    indices = cosine_neighbours(torch.ones(900, 3), 2).indices
    assert indices[:3].tolist() == [[1, 2], [0, 2], [0, 1]]
    assert bool((indices[2:] == torch.tensor([0, 1])).all())


def test_one_row_alone_has_no_neighbours() -> None:
    result = cosine_neighbours(torch.ones(1, 3), 2)
    assert result.indices.tolist() == [[-1, -1]]
    assert result.weights.tolist() == [[0.0, 0.0]]


def test_opposite_and_orthogonal_rows_are_dropped() -> None:
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    result = cosine_neighbours(features, 3)
    assert result.indices.tolist() == [[3, -1, -1], [-1, -1, -1], [3, -1, -1], [0, 2, -1]]


def test_nobody_present_gives_no_neighbours() -> None:
    result = cosine_neighbours(torch.ones(3, 2), 2, present=torch.zeros(3, dtype=torch.bool))
    assert result.indices.tolist() == [[-1, -1]] * 3


def test_row_equal_to_the_mean_has_no_direction_after_centring() -> None:
    assert cosine_neighbours(torch.full((7, 3), 0.1), 2, centre=True).indices.eq(-1).all()
    features = torch.tensor([[0.1, 0.3], [0.2, 0.3], [0.3, 0.3]])
    assert cosine_neighbours(features, 2, centre=True).indices[1].tolist() == [-1, -1]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_features_of_extreme_scale_keep_their_directions(scale: float) -> None:
    features = torch.randn(50, 6, generator=torch.Generator().manual_seed(4))
    plain, scaled = cosine_neighbours(features, 5), cosine_neighbours(features * scale, 5)
    assert torch.equal(plain.indices, scaled.indices)
    torch.testing.assert_close(plain.weights, scaled.weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_float_types_are_ranked_in_at_least_float32(dtype: torch.dtype) -> None:
    features = torch.randn(60, 6, generator=torch.Generator().manual_seed(5)).to(dtype)
    result, expected = cosine_neighbours(features, 5), cosine_neighbours(features.double(), 5)
    assert torch.equal(result.indices, expected.indices)
    torch.testing.assert_close(result.weights, expected.weights)


def test_rows_that_are_not_finite_are_named() -> None:
    features = torch.ones(4, 2)
    features[2, 1] = math.nan
    with pytest.raises(DataError, match=r"1 feature rows .* row 2 \(0-based\)"):
        cosine_neighbours(features, 1)


@pytest.mark.parametrize(
    ("features", "present", "message"),
    [
        (torch.ones(4), None, "features are"),
        (torch.ones(4, 2, dtype=torch.int64), None, "features are torch.int64"),
        (torch.ones(4, 2), torch.ones(3, dtype=torch.bool), "presence mask"),
        (torch.ones(4, 2), torch.ones(4), "presence mask"),
    ],
)
def test_wrong_shapes_and_types_are_refused(
    features: Tensor, present: Tensor | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        cosine_neighbours(features, 1, present=present)


def test_which_search_is_exact() -> None:
    assert NeighbourSearch().is_exact(300_000)
    assert not NeighbourSearch().is_exact(300_001)
    assert NeighbourSearch("exact", exact_rows=0).is_exact(1)
    assert not NeighbourSearch("approximate").is_exact(1)


@pytest.mark.parametrize(
    "options", [{"method": "fast"}, {"exact_rows": -1}, {"recall": 0.0}, {"recall": 1.1}]
)
def test_search_out_of_range_is_refused(options: dict[str, object]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=f"search.{name} is"):
        NeighbourSearch(**options)
