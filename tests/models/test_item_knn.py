import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.metrics.pairwise import cosine_similarity

from slifmr_pl.errors import ConfigError
from slifmr_pl.models.item_knn import ItemKnn, similar_items
from tests.models.tiny import inputs_of_matrix, random_matrix


def dense(matrix: np.ndarray, k: int, shrinkage: float) -> np.ndarray:
    """All similarities but the k largest of each row set to 0; those that are left are distinct."""
    neighbours = similar_items(sparse.csr_array(matrix), k, shrinkage)
    weights = np.zeros((matrix.shape[1], matrix.shape[1]))
    for item, (columns, values) in enumerate(zip(*neighbours, strict=True)):
        weights[item, columns[columns >= 0]] = values[columns >= 0]
    return weights


def test_unshrunk_similarity_is_the_cosine_of_scikit_learn() -> None:
    matrix = random_matrix(40, 17)
    expected = cosine_similarity(matrix.T)
    np.fill_diagonal(expected, 0)
    assert dense(matrix, 17, 0.0) == pytest.approx(expected, abs=1e-6)


def test_shrinkage_adds_to_the_denominator_of_each_pair() -> None:
    matrix = random_matrix(30, 9)
    for i in range(9):
        for j in range(9):
            a, b = matrix[:, i], matrix[:, j]
            cosine = (a @ b) / (np.sqrt(a.sum() * b.sum()) + 7.0)
            assert dense(matrix, 9, 7.0)[i, j] == pytest.approx(cosine if i != j else 0, abs=1e-6)


def test_the_k_most_similar_are_kept_and_ties_go_to_the_lower_item() -> None:
    # Item 0 shares its users with 1, 2 and 3 alike; item 4 is alone.
    matrix = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 1]], dtype=float)
    neighbours = similar_items(sparse.csr_array(matrix), 2, 0.0)
    assert neighbours.indices.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [-1, -1]]
    assert neighbours.weights[4].tolist() == [0, 0]


def test_blocks_do_not_change_the_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = sparse.csr_array(random_matrix(40, 23))
    whole = similar_items(matrix, 5, 3.0)
    monkeypatch.setattr("slifmr_pl.models.item_knn._BLOCK", 4)
    for a, b in zip(whole, similar_items(matrix, 5, 3.0), strict=True):
        assert torch.equal(a, b)


def test_scores_are_sums_over_the_history_among_the_neighbours() -> None:
    matrix = random_matrix(25, 12)
    model = ItemKnn(neighbours=4, shrinkage=2.0)
    model.connect(inputs_of_matrix(matrix))
    model.learn(sparse.csr_array(matrix))
    scores = model.scores(torch.arange(25))
    assert scores.numpy() == pytest.approx(matrix @ dense(matrix, 4, 2.0).T, abs=1e-5)


@pytest.mark.parametrize("settings", [{"neighbours": 0}, {"shrinkage": -1.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="ItemKnn with"):
        ItemKnn(**settings)
