"""What stands for the features of items that have none.

U users, I items, d feature size.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from slifmr_pl.data.interactions import Interactions

Missing = Literal["mask", "zero", "neighbours", "learned"]

_COLUMNS = 64  # of the features at once, so that no table of all users and features is held


class Completed(NamedTuple):
    """Features after a policy for missing ones has been applied.

    Attributes:
        values: float32 [I, d].
        present: bool [I], items that attention and alignment count.
        searched: bool [I], items that have neighbours in the modality graph.
    """

    values: NDArray[np.float32]
    present: NDArray[np.bool_]
    searched: NDArray[np.bool_]


def complete_features(
    values: NDArray[np.float32],
    present: NDArray[np.bool_],
    policy: Missing,
    train: Interactions,
    n_users: int,
) -> Completed:
    """Apply a policy for items without features.

    Args:
        values: float32 [I, d]; rows that are not present are zero.
        present: bool [I].
        policy: "mask" leaves the items out, and so does "learned": the vector that the network
            learns for them stands for a view, not for features; "zero" counts their zero vector,
            which has no neighbours; "neighbours" gives them the mean of the features of items
            with the same users in training, weighted by how many they share, and masks those
            without any.
        train: Training interactions; nothing else is looked at.
        n_users: U.
    """
    if policy in ("mask", "learned") or present.all():
        return Completed(values, present, present)
    if policy == "zero":
        return Completed(values, np.ones_like(present), present)
    ones = np.ones(len(train.users), dtype=np.float32)
    shape = (n_users, len(values))
    users = csr_array((ones, (train.users, train.items)), shape=shape)  # [U, I]
    absent = np.flatnonzero(~present)
    items = users[:, absent].T.tocsr()  # [absent, U]
    shared = items @ (users @ present.astype(np.float32))
    shares_users = shared > 0
    filled = values.copy()
    for start in range(0, values.shape[1], _COLUMNS):
        block = slice(start, start + _COLUMNS)
        sums = items[shares_users] @ (users @ values[:, block])
        filled[absent[shares_users], block] = sums / shared[shares_users, None]
    completed = present.copy()
    completed[absent[shares_users]] = True
    return Completed(filled, completed, completed)
