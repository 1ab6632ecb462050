import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from slifmr_pl.serving.new_items import fact_vectors, fit_feature_map
from tests.graphs.oracles import generator


def noisy_map(n_items: int, noise: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, representations that they explain up to noise, and the map between them."""
    rng = generator(3)
    features = torch.randn(n_items, 6, generator=rng)
    matrix = torch.randn(6, 4, generator=rng)
    noisy = features @ matrix + noise * torch.randn(n_items, 4, generator=rng)
    return features, noisy + 2, matrix


def test_feature_map_is_the_ridge_regression_of_its_strength() -> None:
    features, representations, _ = noisy_map(40, 2.0)
    fitted = fit_feature_map(features, representations)
    mean = representations.mean(0)
    oracle = Ridge(alpha=fitted.ridge, fit_intercept=False).fit(features, representations - mean)
    expected = fitted.length * (oracle.predict(features) + mean.numpy())
    np.testing.assert_allclose(fitted(features), expected, rtol=1e-4, atol=1e-4)


def test_explained_variance_is_that_of_items_left_out_one_by_one() -> None:
    features, representations, _ = noisy_map(40, 2.0)
    fitted = fit_feature_map(features, representations)
    targets = (representations - representations.mean(0)).numpy()
    model = Ridge(alpha=fitted.ridge, fit_intercept=False)
    predicted = cross_val_predict(model, features.numpy(), targets, cv=LeaveOneOut())
    explained = 1 - ((targets - predicted) ** 2).mean() / (targets**2).mean()
    assert fitted.explained == pytest.approx(explained, rel=1e-4)


def test_feature_map_is_recovered_and_unrelated_features_explain_nothing() -> None:
    features, representations, matrix = noisy_map(300, 0.01)
    fitted = fit_feature_map(features, representations)
    torch.testing.assert_close(fitted.matrix.float(), matrix, atol=0.05, rtol=0)
    assert fitted.explained > 0.99
    nothing = fit_feature_map(torch.randn(300, 6, generator=generator(9)), representations)
    assert nothing.explained < 0.05


def test_new_items_are_as_long_as_known_ones() -> None:
    features, representations, _ = noisy_map(2000, 3.0)
    fitted = fit_feature_map(features[:1000], representations[:1000])
    lengths = fitted(features[1000:]).norm(dim=1).mean()
    assert lengths == pytest.approx(float(representations.norm(dim=1).mean()), rel=0.03)


def test_items_of_the_same_rare_facts_are_close() -> None:
    rng = np.random.default_rng(0)
    items, facts = np.repeat(np.arange(200), 3), rng.integers(0, 40, 600)
    known, new = fact_vectors((items, facts), (np.array([0, 0, 0, 1]), facts[[0, 1, 2, 0]]), 200, 2)
    cosines = torch.nn.functional.cosine_similarity(new[:1], known)
    same = [set(facts[items == item]) == set(facts[:3]) for item in range(200)]
    assert same[int(cosines.argmax())]
    assert float(cosines.max()) > 0.99


def test_facts_that_nobody_knows_say_nothing() -> None:
    none = np.empty(0, np.int64)
    known, new = fact_vectors((none, none), (np.array([0]), np.array([5])), 4, 1)
    assert (known.shape, new.shape) == ((4, 0), (1, 0))


def test_few_distinct_facts_make_no_noise() -> None:
    """Forty facts, but items of two kinds only."""
    items, facts = np.arange(60).repeat(20), np.arange(1200) % 40
    known, new = fact_vectors((items, facts), (np.array([0]), np.array([7])), 60, 1)
    assert torch.isfinite(known).all()
    cosines = torch.nn.functional.cosine_similarity(new, known)
    torch.testing.assert_close(cosines[::2], cosines[:1].expand(30), atol=1e-4, rtol=0)
    assert float((cosines[0] - cosines[1]).abs()) > 0.1
