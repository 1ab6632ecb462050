from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slifmr_pl.data.interactions import Interactions
from slifmr_pl.data.knowledge_join import Triples
from slifmr_pl.data.perturbations import (
    Perturbations,
    add_interactions,
    corrupt_tails,
    keep_share,
    kept_features,
    perturbed,
    without_items,
)
from slifmr_pl.errors import ConfigError, DataError
from tests.tiny_runs import demo_data

USERS, ITEMS, ENTITIES = 30, 20, 40
Pairs = set[tuple[int, int]]


def drawn(share: float, seed: int) -> Interactions:
    users, items = np.nonzero(np.random.default_rng(seed).random((USERS, ITEMS)) < share)
    return Interactions(users, items)


TRAIN = drawn(0.3, 1)


def pairs(part: Interactions) -> Pairs:
    listed = list(zip(part.users.tolist(), part.items.tolist(), strict=True))
    assert listed == sorted(set(listed)), "sorted and distinct, as every part is"
    return set(listed)


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_each_user_keeps_the_share_rounded_up(share: float) -> None:
    kept = keep_share(TRAIN, share, 7)
    assert pairs(kept) <= pairs(TRAIN)
    before, after = (np.bincount(part.users, minlength=USERS) for part in (TRAIN, kept))
    assert after.tolist() == np.ceil(np.round(share * before, 9)).tolist()


def test_added_pairs_are_new_as_many_as_asked_for_and_in_no_part() -> None:
    valid = Interactions(TRAIN.users[:5], (TRAIN.items[:5] + 1) % ITEMS)
    more = add_interactions(TRAIN, (TRAIN, valid), (USERS, ITEMS), 0.5, 7)
    added = pairs(more) - pairs(TRAIN)
    assert pairs(more) >= pairs(TRAIN)
    assert len(added) == round(0.5 * len(TRAIN))
    assert not added & set(zip(valid.users.tolist(), valid.items.tolist(), strict=True))
    assert {user for user, _ in added} <= set(range(USERS))
    assert {item for _, item in added} <= set(range(ITEMS))


def test_every_free_pair_can_be_added_and_no_more() -> None:
    free = USERS * ITEMS - len(TRAIN)
    whole = add_interactions(TRAIN, (TRAIN,), (USERS, ITEMS), free / len(TRAIN), 7)
    assert len(whole) == USERS * ITEMS
    with pytest.raises(DataError, match=f"and {free} pairs left"):
        add_interactions(TRAIN, (TRAIN,), (USERS, ITEMS), (free + 1) / len(TRAIN), 7)


def test_added_pairs_are_spread_evenly() -> None:
    few = Interactions(np.arange(100), np.zeros(100, dtype=np.int64))
    added = add_interactions(few, (few,), (100, 200), 100.0, 3)
    counts = np.bincount(added.items, minlength=200)[1:]
    assert abs(counts - counts.mean()).max() < 6 * np.sqrt(counts.mean())


def test_cold_items_lose_all_their_pairs_and_the_others_none() -> None:
    kept = without_items(TRAIN, ITEMS, 0.25, 7)
    cold = set(range(ITEMS)) - set(kept.items.tolist())
    assert len(cold) == 5
    assert pairs(kept) == {(user, item) for user, item in pairs(TRAIN) if item not in cold}


def test_corrupted_triples_keep_head_and_relation() -> None:
    generator = np.random.default_rng(0)
    heads, relations = np.arange(1000) % 25, np.arange(1000) // 25  # all different
    triples = Triples(heads, relations, generator.integers(25, 30, 1000))
    corrupted = corrupt_tails(triples, 10_000, 0.3, 7)

    def facts(some: Triples) -> set[tuple[int, int, int]]:
        return set(zip(some.heads, some.relations, some.tails, strict=True))

    changed = facts(corrupted) - facts(triples)
    assert len(changed) == pytest.approx(300, abs=3)  # a random tail may be the old one
    known = {(head, relation) for head, relation, _ in facts(triples)}
    assert {(head, relation) for head, relation, _ in facts(corrupted)} <= known


def test_each_modality_loses_a_share_of_those_that_have_it() -> None:
    present = np.arange(100) % 4 > 0
    image, text = (kept_features(present, 0.4, 7, name) for name in ("image", "text"))
    assert not (image & ~present).any()
    assert image.sum() == text.sum() == 45
    assert (image != text).any()


@pytest.mark.parametrize("seed", [7, 8])
def test_smaller_share_is_part_of_a_larger_one(seed: int) -> None:
    shares = [0.1, 0.3, 0.5]
    added = [
        pairs(add_interactions(TRAIN, (TRAIN,), (USERS, ITEMS), share, seed)) for share in shares
    ]
    kept = [pairs(keep_share(TRAIN, share, seed)) for share in shares]
    cold = [pairs(without_items(TRAIN, ITEMS, share, seed)) for share in shares]
    for small, large in zip(range(2), range(1, 3), strict=True):
        assert added[small] < added[large]
        assert kept[small] < kept[large]
        assert cold[large] < cold[small]


def test_another_seed_draws_otherwise() -> None:
    assert pairs(keep_share(TRAIN, 0.5, 7)) != pairs(keep_share(TRAIN, 0.5, 8))


def test_evaluation_and_masks_stay_those_of_the_data(catalogue: Path) -> None:
    how = Perturbations(
        train_share=0.6, added_interactions=0.3, corrupted_triples=0.5, cold_items=0.1
    )
    plain = demo_data(catalogue, modalities={})
    worse = demo_data(catalogue, modalities={}, perturbations=how)
    assert pairs(worse.data.valid) == pairs(plain.data.valid)
    assert pairs(worse.data.test) == pairs(plain.data.test)
    assert pairs(worse.data.train) != pairs(plain.data.train)
    assert worse.model_inputs.fingerprint != plain.model_inputs.fingerprint
    for loader in ("val_dataloader", "test_dataloader", "predict_dataloader"):
        for a, b in zip(getattr(worse, loader)(), getattr(plain, loader)(), strict=True):
            assert all(x.equal(y) for x, y in zip(a, b, strict=True))


def test_no_perturbation_changes_nothing(catalogue: Path) -> None:
    data = demo_data(catalogue, modalities={}).data
    assert perturbed(data, Perturbations(seed=3)) is data


def test_cold_items_compete_among_themselves(catalogue: Path) -> None:
    how = Perturbations(cold_items=0.3)
    module = demo_data(catalogue, modalities={}, perturbations=how, test_items="cold")
    everything = demo_data(catalogue, modalities={}, perturbations=how)
    trained = set(module.data.train.items.tolist())
    for batch, whole in zip(module.test_dataloader(), everything.test_dataloader(), strict=True):
        assert batch.users.equal(whole.users)
        for row in range(len(batch.users)):
            known, relevant, known_of_all, relevant_of_all = (
                set(items[offsets[row] : offsets[row + 1]].tolist())
                for offsets, items in (batch[1:3], batch[3:5], whole[1:3], whole[3:5])
            )
            assert known == known_of_all | trained
            assert relevant == relevant_of_all - trained


def test_lost_features_are_absent_from_graph_and_inputs(catalogue: Path) -> None:
    lost = Perturbations(missing_features={"text": 0.5})
    plain, worse = (
        demo_data(catalogue, perturbations=how).model_inputs for how in (Perturbations(), lost)
    )
    before, after = (int(inputs.features["text"].present.sum()) for inputs in (plain, worse))
    assert after == before - round(before / 2)
    assert worse.features["image"].present.equal(plain.features["image"].present)
    absent = ~worse.features["text"].present
    assert (worse.graph.modalities["text"].indices[absent] == -1).all()
    assert worse.fingerprint != plain.fingerprint


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ({"train_share": 0.0}, "train_share 0.0"),
        ({"added_interactions": -0.1}, "added_interactions -0.1"),
        ({"missing_features": {"text": 1.5}}, "missing_features.text 1.5"),
        ({"cold_items": 0.5, "seed": -1}, "seed -1"),
    ],
)
def test_shares_out_of_range_are_refused(how: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"data.perturbations: {named}"):
        Perturbations(**how)


def test_unknown_modality_is_refused(catalogue: Path) -> None:
    how = Perturbations(missing_features={"sound": 0.5})
    with pytest.raises(ConfigError, match="sound"):
        _ = demo_data(catalogue, modalities={}, perturbations=how).model_inputs


def test_nothing_left_to_train_on_is_refused(catalogue: Path) -> None:
    how = Perturbations(cold_items=1.0)
    with pytest.raises(DataError, match="no training interactions are left"):
        _ = demo_data(catalogue, modalities={}, perturbations=how).data
