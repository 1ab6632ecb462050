from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from slifmr_pl.config import memory
from slifmr_pl.errors import ConfigError
from slifmr_pl.models import ease
from slifmr_pl.models.ease import Ease, ease_weights
from tests.models.tiny import inputs_of_matrix, random_matrix
from tests.tiny_runs import demo_data, trainer


def test_weights_solve_a_ridge_regression_of_each_item_on_the_others() -> None:
    matrix, l2 = random_matrix(50, 14), 3.0
    expected = np.zeros((14, 14))
    for item in range(14):
        others = np.delete(matrix, item, axis=1)
        solution = np.linalg.solve(others.T @ others + l2 * np.eye(13), others.T @ matrix[:, item])
        expected[np.arange(14) != item, item] = solution
    assert ease_weights(sparse.csr_array(matrix), l2).numpy() == pytest.approx(expected, abs=1e-6)


def test_no_weights_with_a_zero_diagonal_have_a_lower_loss() -> None:
    matrix, l2 = random_matrix(30, 8), 2.0

    def loss(weights: np.ndarray) -> float:
        return float(((matrix - matrix @ weights) ** 2).sum() + l2 * (weights**2).sum())

    best = ease_weights(sparse.csr_array(matrix), l2).double().numpy()
    generator = np.random.default_rng(2)
    for _ in range(50):
        change = generator.normal(scale=0.01, size=best.shape)
        np.fill_diagonal(change, 0)
        assert loss(best + change) > loss(best)


def test_scores_are_the_history_times_the_weights() -> None:
    matrix = random_matrix(20, 9)
    model = Ease(l2=5.0)
    model.connect(inputs_of_matrix(matrix))
    model.learn(sparse.csr_array(matrix))
    scores = model.scores(torch.tensor([7, 3, 3]))
    weights = ease_weights(sparse.csr_array(matrix), 5.0).numpy()
    assert scores.numpy() == pytest.approx(matrix[[7, 3, 3]] @ weights, abs=1e-5)


def test_a_user_without_history_scores_every_item_zero() -> None:
    matrix = random_matrix(4, 5)
    matrix[2] = 0
    model = Ease()
    model.connect(inputs_of_matrix(matrix))
    model.learn(sparse.csr_array(matrix))
    assert model.scores(torch.tensor([1, 2]))[1].tolist() == [0] * 5


def test_no_regularisation_is_refused() -> None:
    with pytest.raises(ConfigError, match="l2 0"):
        Ease(l2=0)


def test_items_whose_pairs_do_not_fit_into_memory_are_refused_before_anything_is_solved(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def free(size: int) -> None:
        for module in (memory, ease):
            monkeypatch.setattr(module, "available_memory", lambda: size)

    data = demo_data(catalogue, modalities={}, use_knowledge=False)
    data.setup("fit")
    n_items = len(data.data.items)
    free(28 * n_items**2 - 1)
    with pytest.raises(ConfigError, match=f"Ease of {n_items} items") as refused:
        trainer(tmp_path, 1).fit(Ease(), datamodule=data)
    assert f"ItemKnn, or keep at most {n_items - 1} items" in refused.value.fix
    Ease().build(data.model_inputs)  # to score, B alone is needed
    free(28 * n_items**2)
    trainer(tmp_path, 1).fit(Ease(), datamodule=data)
    free(4 * n_items**2 - 1)
    with pytest.raises(ConfigError, match="of memory"):
        Ease().build(data.model_inputs)
