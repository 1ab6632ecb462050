import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.data.interactions import Interactions
from slifmr_pl.data.vocabulary import Vocabulary

ids = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=6, unique=True)


def catalogue(users: list[str], items: list[str], others: list[str]) -> Catalogue:
    known = Vocabulary(items)
    return Catalogue(
        users=Vocabulary(users),
        items=known,
        entities=known.extend(others),
        relations=Vocabulary(["directed_by"]),
        held_out=Interactions(np.array([1, 0]), np.array([2, 2])),
    )


@given(ids, ids, ids)
def test_any_ids_survive_a_checkpoint(
    users: list[str], items: list[str], others: list[str]
) -> None:
    before = catalogue(users, items, others)
    file = io.BytesIO()
    torch.save(before.state, file)
    file.seek(0)
    after = Catalogue.from_state(torch.load(file, weights_only=True))
    for name in ("users", "items", "entities", "relations"):
        assert getattr(after, name) == getattr(before, name)
    assert after.fingerprint() == before.fingerprint()
    assert after.held_out.users.tolist() == [1, 0]
    assert after.held_out.items.tolist() == [2, 2]


def test_fingerprint_depends_on_every_vocabulary_and_its_order() -> None:
    given = [["a", "b"], ["i", "j"], ["e"]]
    prints = {catalogue(*given).fingerprint()}
    for part in range(3):
        changed = [list(part) for part in given]
        changed[part] = [*reversed(changed[part]), "new"]
        prints.add(catalogue(*changed).fingerprint())
    assert len(prints) == 4


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("lengths", torch.tensor([1, -1], dtype=torch.int32)),
        ("lengths", torch.tensor([1, 5], dtype=torch.int32)),
        ("lengths", torch.tensor([1, 1])),
        ("characters", torch.tensor([200, 200], dtype=torch.uint8)),
    ],
)
def test_damaged_ids_are_refused(part: str, change: torch.Tensor) -> None:
    state = catalogue(["a", "b"], ["i"], []).state
    state = state | {"users": state["users"] | {part: change}}
    with pytest.raises(ValueError):
        Catalogue.from_state(state)
