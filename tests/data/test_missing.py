import numpy as np
import pytest

from slifmr_pl.data.interactions import Interactions
from slifmr_pl.data.missing import Missing, complete_features

PRESENT = np.array([True, False, True, False, True])
VALUES = np.arange(5 * 70, dtype=np.float32).reshape(5, 70) * PRESENT[:, None]
# User 0 has items 0, 1, 2; user 1 has 1, 2; user 2 has 4; nobody has item 3.
TRAIN = Interactions(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 1, 2, 4]))


def test_mask_and_zero_change_no_value() -> None:
    for policy, counted in (("mask", PRESENT), ("zero", np.ones(5, dtype=bool))):
        completed = complete_features(VALUES, PRESENT, policy, TRAIN, 3)  # type: ignore[arg-type]
        np.testing.assert_array_equal(completed.values, VALUES)
        np.testing.assert_array_equal(completed.present, counted)
        np.testing.assert_array_equal(completed.searched, PRESENT)


def test_neighbours_give_their_mean_by_shared_users_and_others_stay_masked() -> None:
    completed = complete_features(VALUES, PRESENT, "neighbours", TRAIN, 3)
    np.testing.assert_allclose(completed.values[1], (VALUES[0] + 2 * VALUES[2]) / 3, rtol=1e-6)
    np.testing.assert_array_equal(completed.values[PRESENT], VALUES[PRESENT])
    assert (
        completed.present.tolist() == completed.searched.tolist() == [True, True, True, False, True]
    )
    assert not completed.values[3].any()
    assert not VALUES[1].any()  # the store's own rows stay


@pytest.mark.parametrize("policy", ["mask", "zero", "neighbours", "learned"])
def test_nothing_happens_where_nothing_is_missing(policy: Missing) -> None:
    every = np.ones(5, dtype=bool)
    completed = complete_features(VALUES, every, policy, TRAIN, 3)
    assert completed.values is VALUES
    assert completed.present.all()
