import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from feature_extraction import FeatureStore, write_store
from slifmr_pl.data.batches import EvalBatch
from slifmr_pl.data.dataset import SplitConfig
from slifmr_pl.data.features import ModalitySource
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph
from slifmr_pl.graphs.neighbours import NeighbourSearch
from tests.tiny_runs import demo_data


def items_of(offsets: torch.Tensor, items: torch.Tensor, row: int) -> set[int]:
    return set(items[offsets[row] : offsets[row + 1]].tolist())


def test_validation_masks_train_and_test_masks_what_is_configured(catalogue: Path) -> None:
    for masks in ("train", "train+valid"):
        data = demo_data(catalogue, test_masks=masks, eval_batch_size=1000)
        (valid,), (test,), (every,) = (
            list(loader)
            for loader in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader())
        )
        assert isinstance(valid, EvalBatch)
        for row in range(len(valid.users)):
            train = items_of(valid.known_offsets, valid.known_items, row)
            validated = items_of(valid.relevant_offsets, valid.relevant_items, row)
            tested = items_of(test.relevant_offsets, test.relevant_items, row)
            expected = train | validated if masks == "train+valid" else train
            assert items_of(test.known_offsets, test.known_items, row) == expected
            assert (
                items_of(every.known_offsets, every.known_items, row) == train | validated | tested
            )
            assert not train & validated
            assert not (train | validated) & tested


@pytest.mark.parametrize(("most", "expected"), [(2048, 90), (40, 30)])
def test_validation_sample_is_some_users_as_validation_ranks_them_in_every_process(
    catalogue: Path, monkeypatch: pytest.MonkeyPatch, most: int, expected: int
) -> None:
    monkeypatch.setattr("slifmr_pl.recommendation_datamodule._SAMPLED_USERS", most)
    monkeypatch.setattr(SlifMrDataModule, "_world_size", 2)
    monkeypatch.setattr(SlifMrDataModule, "_rank", 1)
    data = demo_data(catalogue)
    having = np.unique(data.data.valid.users)
    assert len(having) == 90
    batches = list(data.validation_sample)
    users = torch.cat([batch.users for batch in batches])
    assert users.tolist() == having[:: 90 // expected].tolist()
    for batch in batches:
        for row, user in enumerate(batch.users.tolist()):
            train, valid = data.data.train, data.data.valid
            known = items_of(batch.known_offsets, batch.known_items, row)
            assert known == set(train.items[train.users == user].tolist())
            items = items_of(batch.relevant_offsets, batch.relevant_items, row)
            assert items == set(valid.items[valid.users == user].tolist())


def test_items_without_picture_are_masked_and_have_no_edges(catalogue: Path) -> None:
    inputs = demo_data(catalogue).model_inputs
    present = inputs.features["image"].present
    neighbours = inputs.graph.modalities["image"].indices
    assert 0 < (~present).sum() < len(present)
    assert (neighbours[~present] == -1).all()
    assert present[neighbours[neighbours >= 0]].all()


def test_missing_modalities_follow_their_policy(catalogue: Path) -> None:
    plain = demo_data(catalogue)
    masked = plain.model_inputs.features["image"].present
    absent = ~masked
    completed = {}
    for policy in ("zero", "neighbours", "learned"):
        sources = {
            name: dataclasses.replace(source, missing=policy)
            for name, source in plain.modalities.items()
        }
        inputs = demo_data(catalogue, modalities=sources).model_inputs
        completed[policy] = inputs
        assert inputs.fingerprint != plain.model_inputs.fingerprint
        assert torch.equal(inputs.graph.present["image"], inputs.features["image"].present)
        again = HeterogeneousGraph.from_state(inputs.graph.state())
        assert again.learned == (("image", "text") if policy == "learned" else ())
    zero, filled = completed["zero"], completed["neighbours"]
    assert torch.equal(completed["learned"].graph.present["image"], masked)
    assert zero.features["image"].present.all()
    assert not zero.features["image"].values[absent].any()
    assert (zero.graph.modalities["image"].indices[absent] == -1).all()
    given = absent & filled.features["image"].present
    assert given.any()
    assert filled.features["image"].values[given].any(dim=1).all()
    assert (filled.graph.modalities["image"].indices[given] >= 0).any()


def test_every_item_of_the_table_is_extracted_so_that_filters_share_one_store(
    catalogue: Path, cache: Path
) -> None:
    warm, cold = demo_data(catalogue), demo_data(catalogue, filters=demo_data(catalogue).filters)
    warm.prepare_data()
    stores = sorted((cache / "features").iterdir())
    cold.filters = type(cold.filters)(k_core=3)
    cold.prepare_data()
    assert len(cold.data.items) < len(warm.data.items)
    assert sorted((cache / "features").iterdir()) == stores


def test_ready_store_takes_the_place_of_an_encoder(catalogue: Path, tmp_path: Path) -> None:
    data = demo_data(catalogue, cache_dir=str(tmp_path))
    data.prepare_data()
    (folder,) = (tmp_path / "features").glob("text-*")
    ready = demo_data(catalogue, modalities={"text": ModalitySource(store=str(folder))})
    features = ready.model_inputs.features["text"].values
    assert torch.equal(features, data.model_inputs.features["text"].values)
    assert FeatureStore.open(folder).manifest["counts"]["present"] > 0


@pytest.mark.parametrize(
    "change",
    [
        {"neighbours": 4},
        {"centre_features": False},
        {"use_knowledge": False},
        {"neighbour_search": NeighbourSearch("approximate")},
    ],
)
def test_fingerprint_changes_with_what_changes_the_graphs(
    catalogue: Path, change: dict[str, object]
) -> None:
    one, other = demo_data(catalogue), demo_data(catalogue, **change)
    assert one.model_inputs.fingerprint != other.model_inputs.fingerprint
    assert one.model_inputs.fingerprint == demo_data(catalogue).model_inputs.fingerprint


def test_similarity_of_a_modality_changes_its_graph_alone(catalogue: Path) -> None:
    def graphs(**text: object) -> SlifMrDataModule:
        modalities = demo_data(catalogue).modalities
        changed = dataclasses.replace(modalities["text"], reduce=8, **text)
        return demo_data(catalogue, modalities=modalities | {"text": changed})

    usual, whitened = graphs().model_inputs, graphs(similarity="whitened").model_inputs
    assert whitened.fingerprint != usual.fingerprint
    for name, same in (("image", True), ("text", False)):
        one, other = usual.graph.modalities[name], whitened.graph.modalities[name]
        assert torch.equal(one.indices, other.indices) is same
    named = graphs(similarity="centred").model_inputs
    assert named.fingerprint == usual.fingerprint  # which is what data.centre_features says
    assert torch.equal(
        named.graph.modalities["text"].indices, usual.graph.modalities["text"].indices
    )


def test_features_are_reduced_as_configured_and_a_ready_store_is_not(catalogue: Path) -> None:
    modalities = demo_data(catalogue).modalities
    text = dataclasses.replace(modalities["text"], reduce=4, whiten=True)
    data = demo_data(catalogue, modalities={"text": text})
    assert data.model_inputs.features["text"].values.shape[1] == 4
    for wrong in ({"store": "x", "reduce": 4}, {"whiten": True}, {"reduce": 0}):
        with pytest.raises(ConfigError, match="reduce"):
            ModalitySource(**wrong)  # type: ignore[arg-type]


def test_modality_graphs_are_searched_as_configured(
    catalogue: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="slifmr_pl"):
        # As many neighbours as no other test asks for: what is searched is kept.
        search = NeighbourSearch("approximate")
        demo_data(catalogue, neighbours=4, neighbour_search=search).setup("fit")
    assert caplog.text.count(": approximate, ") == 2
    exactly = demo_data(catalogue, neighbour_search=NeighbourSearch("exact"))
    assert exactly.model_inputs.fingerprint == demo_data(catalogue).model_inputs.fingerprint


def test_modality_without_source_or_column_is_refused(catalogue: Path) -> None:
    with pytest.raises(ConfigError, match="no source"):
        demo_data(catalogue, modalities={"text": ModalitySource("bert")}).prepare_data()
    clip = str(catalogue / "encoders" / "clip")
    for columns, error in ((("picture",), DataError), (("image", "title"), ConfigError)):
        source = ModalitySource("clip-image", clip, columns=columns)
        with pytest.raises(error, match="column"):
            demo_data(catalogue, modalities={"image": source}).prepare_data()


def test_features_that_say_nothing_of_who_likes_what_are_named_in_a_warning(
    catalogue: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ids = demo_data(catalogue).data.items.ids.to_pylist()
    noise = np.random.default_rng(0).normal(size=(len(ids), 8)).astype(np.float32)
    present = np.ones(len(ids), np.bool_)
    write_store(
        tmp_path / "noise",
        ids=ids,
        features=noise,
        present=present,
        manifest={"content_key": "noise"},
    )
    source = ModalitySource(store=str(tmp_path / "noise"))
    with caplog.at_level(logging.INFO, logger="slifmr_pl"):
        demo_data(catalogue, modalities={"noise": source}).setup("fit")
    assert "modality noise, nearest neighbours: lift " in caplog.text
    assert "modality noise: neighbours share users hardly more often than by chance" in caplog.text


def test_setup_logs_a_summary_of_the_data(
    catalogue: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="slifmr_pl"):
        demo_data(catalogue).setup("fit")
    assert "1200 interactions read, 1200 kept" in caplog.text
    assert "90 users, 60 items" in caplog.text


def test_neighbours_are_searched_once_and_not_again_for_other_data_of_the_same_items(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = demo_data(catalogue, cache_dir=str(tmp_path))
    first.prepare_data()
    monkeypatch.setattr("slifmr_pl.graphs.building.cosine_neighbours", None)  # to search would fail
    second = demo_data(catalogue, cache_dir=str(tmp_path), split=SplitConfig(seed=1))
    assert second.model_inputs.fingerprint != first.model_inputs.fingerprint
    for name, neighbours in second.model_inputs.graph.modalities.items():
        assert torch.equal(neighbours.indices, first.model_inputs.graph.modalities[name].indices)


def test_all_modalities_are_checked_before_the_first_is_computed(
    catalogue: Path, tmp_path: Path
) -> None:
    data = demo_data(catalogue, cache_dir=str(tmp_path))
    data.modalities = {
        **data.modalities,
        "text": dataclasses.replace(data.modalities["text"], columns=("titel",)),
    }
    with pytest.raises(DataError, match="'titel'"):
        data.prepare_data()
    assert not list(tmp_path.rglob("manifest.json"))


def test_data_module_can_be_printed_before_and_after_it_is_set_up(catalogue: Path) -> None:
    data = demo_data(catalogue)
    for _ in range(2):
        assert str(data) == repr(data) == f"SlifMrDataModule({str(catalogue)!r})"
        data.prepare_data()
