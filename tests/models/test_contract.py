"""What every model gets from the contract, the peers and one of somebody's own alike."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser

from slifmr_pl.checkpoints.format import read_checkpoint
from slifmr_pl.config import plugins
from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.errors import CheckpointError, ConfigError
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.models.base import RecommenderModule, catalogue_of, load_model
from slifmr_pl.models.ease import Ease
from slifmr_pl.models.item_knn import ItemKnn
from slifmr_pl.models.most_popular import MostPopular
from slifmr_pl.models.vbpr import Vbpr
from slifmr_pl.report.html.html import count_notes
from slifmr_pl.report.run import read_run
from slifmr_pl.report.run_page import as_page
from slifmr_pl.serving.export import export
from slifmr_pl.serving.recommender import Recommendation, Recommender
from slifmr_pl.serving.service.answers import list_of_history, lists_of_users, similar_items
from slifmr_pl.serving.service.payloads import BatchQuestion, Filters, HistoryQuestion, Place
from slifmr_pl.serving.service.rankings import NotInExportError
from slifmr_pl.serving.service.served_export import ServedExport
from tests.extending.parts.simgcl import SimGcl
from tests.models.runs import (
    EPOCHS,
    EVALUATION,
    MODELS,
    WITH_GRADIENTS,
    WITH_VECTORS,
    Trained,
    in_this_process,
    new_model,
    train,
)
from tests.models.tiny import inputs_of_matrix, random_matrix
from tests.processes import in_processes
from tests.tiny_runs import Metrics, demo_data, trainer


@pytest.fixture(scope="module", params=MODELS)
def trained(
    request: pytest.FixtureRequest, catalogue: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    folder = tmp_path_factory.mktemp("runs") / request.param / "version_0"
    return train(request.param, catalogue, folder)


def same_state(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("start", ["checkpoints/epoch=0.ckpt", "middle.ckpt"])
def test_resumed_run_equals_the_uninterrupted_one(
    trained: Trained, tmp_path: Path, start: str
) -> None:
    path = trained.folder / start
    if trained.name not in WITH_GRADIENTS and start == "middle.ckpt":
        assert not path.exists()  # a closed form takes one step
        return
    module, metrics = new_model(trained.name), Metrics()
    pl.seed_everything(999, verbose=False)
    fit = trainer(tmp_path, EPOCHS, metrics)
    fit.fit(module, datamodule=trained.data, ckpt_path=str(path))
    same_state(module.state_dict(), trained.module.state_dict())
    for epoch, values in metrics.epochs.items():
        # A closed form ends after an epoch; the one that follows a resume learns the same again.
        assert values == trained.metrics.epochs.get(epoch, trained.metrics.epochs[0])
    for epoch, values in metrics.losses.items():
        assert values == trained.metrics.losses[epoch]
    assert bool(metrics.losses) == (trained.name in WITH_GRADIENTS)


def predicted(trained: Trained, folder: Path) -> torch.Tensor:
    predictions = trainer(folder, 1).predict(trained.module, datamodule=trained.data)
    assert predictions is not None
    return torch.cat([part.indices for part in predictions])


def test_checkpoint_alone_ranks_like_the_trained_model(trained: Trained, tmp_path: Path) -> None:
    module = load_model(trained.checkpoint, top_k=5)
    assert type(module) is type(trained.module)
    assert module.top_k == 5
    assert module.hparams == trained.module.hparams | {"top_k": 5}
    same_state(module.state_dict(), trained.module.state_dict())
    inputs = trained.data.model_inputs
    users = torch.arange(inputs.graph.n_users)
    nothing = torch.zeros(len(users) + 1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    alone, own = (one.ranker(9).recommend(users, *nothing) for one in (module, trained.module))
    assert torch.equal(alone.indices, own.indices)
    assert torch.equal(alone.values, own.values)


def test_loaded_model_is_tested_and_trained_further(trained: Trained, tmp_path: Path) -> None:
    module = type(trained.module).load_from_checkpoint(trained.checkpoint)
    tested = trainer(tmp_path, 1).validate(module, datamodule=trained.data, verbose=False)[0]
    assert tested == trained.metrics.epochs[max(trained.metrics.epochs)]
    trainer(tmp_path, 1).fit(module, datamodule=trained.data)


def test_lists_of_the_recommender_are_those_of_predict(trained: Trained, tmp_path: Path) -> None:
    recommender = Recommender.from_checkpoint(trained.checkpoint)
    users, items = recommender.catalogue.users, recommender.items
    rows = predicted(trained, tmp_path)
    ids = users.ids.to_pylist()
    for some in (ids[:3], ids):  # few at once, and many
        for row, places in zip(rows, recommender.recommend(some, 7), strict=False):
            assert [place.item_id for place in places] == items.decode(row[row >= 0].numpy())
    (places,) = recommender.recommend(ids[:1], 3)
    scores = recommender.score(ids[0], [place.item_id for place in places])
    assert scores == pytest.approx([place.score for place in places], abs=1e-5)


def test_somebody_new_and_similar_items_are_served_where_the_model_can(trained: Trained) -> None:
    recommender = Recommender(trained.module, catalogue_of(trained.module))
    items = recommender.items.ids.to_pylist()
    places = recommender.recommend_for_history(items[:3], 5, blocked=items[3:9])
    assert len({place.item_id for place in places} - set(items[:9])) == 5
    if trained.name in WITH_VECTORS:
        assert len(recommender.similar_items(items[:2], 4)[1]) == 4
    else:
        with pytest.raises(ConfigError, match=r"similar items of .*, which gives scores and no"):
            recommender.similar_items(items[:2], 4)
        with pytest.raises(ConfigError, match="new items of"):
            recommender.add_items(["new"], facts=[("new", "r", "e")])


def test_export_has_vectors_or_lists_as_the_model_gives_them(
    trained: Trained, tmp_path: Path
) -> None:
    manifest = export(trained.checkpoint, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert type(trained.module).__name__ in card
    assert len(pq.read_table(tmp_path / "out" / "users.parquet")) == manifest["users"] == 90
    if trained.name in WITH_VECTORS:
        assert (tmp_path / "out" / "embeddings.safetensors").is_file()
        return
    lists = pq.read_table(tmp_path / "out" / "recommendations.parquet")
    items = trained.data.data.items.encode(lists["item_id"].to_pylist())
    rows = predicted(trained, tmp_path)
    assert items.tolist() == rows[rows >= 0].tolist()
    with pytest.raises(ConfigError, match=r"a faiss index of .*, which gives scores and no"):
        export(trained.checkpoint, tmp_path / "index", faiss=True)
    assert not (tmp_path / "index").exists()


def test_served_export_answers_as_the_recommender_does(trained: Trained, tmp_path: Path) -> None:
    export(trained.checkpoint, tmp_path / "out")
    served = ServedExport(tmp_path / "out")
    recommender = Recommender.from_checkpoint(trained.checkpoint)
    users = recommender.catalogue.users.ids.to_pylist()[::9]
    items = recommender.items.ids.to_pylist()
    k = trained.module.top_k

    def same(places: list[Place], expected: list[Recommendation]) -> None:
        assert [place.item_id for place in places] == [one.item_id for one in expected]
        scores = [one.score for one in expected]
        assert [place.score for place in places] == pytest.approx(scores, rel=1e-4, abs=1e-5)

    answer = lists_of_users(served, BatchQuestion(user_ids=users, k=k))
    for one, expected in zip(answer.lists, recommender.recommend(users, k), strict=True):
        same(one.items, expected)
    history = HistoryQuestion(item_ids=items[3:8], k=k, blocked=items[20:23])
    if trained.name in WITH_VECTORS:
        expected = recommender.recommend_for_history(items[3:8], k, blocked=items[20:23])
        same(list_of_history(served, history).items, expected)
        (expected,) = recommender.similar_items(items[5:6], k)
        same(similar_items(served, 5, Filters(k=k)).items, expected)
        return
    first = answer.lists[0].items
    one = BatchQuestion(user_ids=users[:1], k=2, blocked=[first[1].item_id])
    assert lists_of_users(served, one).lists[0].items == [first[0], first[2]]
    for wrong in (
        lambda: list_of_history(served, history),
        lambda: similar_items(served, 5, Filters()),
        lambda: lists_of_users(served, BatchQuestion(user_ids=users, exclude_seen=False)),
    ):
        with pytest.raises(NotInExportError):
            wrong()


def test_report_has_no_error_boxes(trained: Trained) -> None:
    page = as_page(read_run(trained.folder))
    assert count_notes(page) == 0
    assert type(trained.module).__name__ in page
    assert "Left out" in page
    assert "the model has no several views of an item" in page
    for expected in ("Users by activity", "Items by popularity", "Recommended"):
        assert expected in page


def test_run_and_checkpoint_name_the_model(trained: Trained) -> None:
    record = json.loads((trained.folder / "run.json").read_text())
    state = read_checkpoint(trained.checkpoint)["slifmr"]
    cls = type(trained.module)
    assert record["model"] == state["model"] == f"{cls.__module__}.{cls.__qualname__}"
    assert record["plugins"] == state["plugins"] == plugins.loaded()


def test_scores_are_not_explained_unless_the_model_does(trained: Trained) -> None:
    with pytest.raises(ConfigError, match="does not explain its scores"):
        trained.module.explain(0, 0)


def test_checkpoint_of_another_class_or_other_settings_is_refused(
    trained: Trained, tmp_path: Path
) -> None:
    other = Ease if trained.name != "ease" else MostPopular
    with pytest.raises(
        CheckpointError, match=f"the checkpoint is of .*{type(trained.module)!s:.0}"
    ):
        other.load_from_checkpoint(trained.checkpoint)
    run = trainer(tmp_path, 1)
    with pytest.raises(CheckpointError, match="the checkpoint is of"):
        run.test(other(), datamodule=trained.data, ckpt_path=str(trained.checkpoint))
    with pytest.raises(ConfigError, match="load_from_checkpoint with noise"):
        load_model(trained.checkpoint, noise=0.3)


def test_evaluation_may_differ_from_training_but_not_the_model(
    catalogue: Path, tmp_path: Path
) -> None:
    data, fit = demo_data(catalogue), trainer(tmp_path, 1)
    fit.fit(Ease(l2=20.0), datamodule=data)
    fit.save_checkpoint(tmp_path / "x.ckpt")
    run = trainer(tmp_path, 1)
    path = str(tmp_path / "x.ckpt")
    measured = run.test(Ease(20.0, ks=(3,)), datamodule=data, ckpt_path=path, verbose=False)[0]
    assert "test/recall@3" in measured
    with pytest.raises(CheckpointError, match=r"l2 is 7\.0, and 20\.0 in the checkpoint"):
        run.test(Ease(7.0), datamodule=data, ckpt_path=path)


# Several processes


@pytest.fixture(scope="module", params=WITH_GRADIENTS)
def shared(
    request: pytest.FixtureRequest,
    catalogue: Path,
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path, Path, list[dict[str, Any]]]:
    """The same run in one and in two processes: folders, and what each process noted."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    notes = [in_this_process(request.param, catalogue, folders[0])]
    notes += in_processes(2, in_this_process, request.param, catalogue, folders[1])
    return request.param, *folders, notes


def read_state(folder: Path, rank: int = 0) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = torch.load(folder / f"state-{rank}.pt", weights_only=True)
    return tensors


def test_two_processes_train_the_model_of_one(
    shared: tuple[str, Path, Path, list[dict[str, Any]]],
) -> None:
    _, one, two, (alone, first, second) = shared
    same_state(read_state(two, 0), read_state(two, 1))
    for name, tensor in read_state(one).items():
        torch.testing.assert_close(read_state(two)[name], tensor, rtol=1e-3, atol=2e-4)
    for epoch in range(EPOCHS):
        assert first["losses"][epoch] == second["losses"][epoch]
        assert first["losses"][epoch] == pytest.approx(alone["losses"][epoch], rel=1e-5)


def test_two_processes_resume_exactly(
    shared: tuple[str, Path, Path, list[dict[str, Any]]], catalogue: Path, tmp_path: Path
) -> None:
    name, _, two, (_, first, _) = shared
    path = two / "epochs" / "epoch=0.ckpt"
    notes = in_processes(2, in_this_process, name, catalogue, tmp_path, path)
    same_state(read_state(tmp_path), read_state(two))
    for epoch in (1, 2):
        assert notes[0]["losses"][epoch] == first["losses"][epoch]
        assert notes[0]["metrics"][epoch] == first["metrics"][epoch]


def test_closed_form_in_several_processes_is_refused(tmp_path: Path) -> None:
    module = Ease()
    module.trainer = trainer(tmp_path, 1, strategy="ddp", devices=2)
    module.trainer.strategy.broadcast = lambda value, src=0: value  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="Ease in 2 processes"):
        module.on_fit_start()


class Rows(RecommenderModule):
    """A loss that is a mean over rows, of a parameter for each user."""

    def build(self, inputs: ModelInputs) -> None:
        self.table = torch.nn.Parameter(torch.arange(float(inputs.graph.n_users)))

    def loss(self, batch: TrainBatch) -> torch.Tensor:
        return self.table[batch.users].mean()


@pytest.mark.parametrize("cut", [0, 2, 5])
def test_losses_of_shares_average_to_that_of_the_batch(cut: int) -> None:
    """Also where a process has no row at all."""
    users = torch.arange(5)
    parts = [users[:cut], users[cut:]] if cut else [users[:0], users]
    gradients, means = [], []
    for part in parts:
        module = Rows()
        module.connect(inputs_of_matrix(random_matrix(5, 4)))
        module.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no Trainer
        batch = TrainBatch(part, part % 4, part[:, None] % 4, users % 4, 2, users)
        module.training_step(batch, 0).backward()
        assert module.table.grad is not None
        gradients.append(module.table.grad)
        means += module._epoch_means.state()
    assert torch.stack(gradients).mean(0).tolist() == pytest.approx([0.2] * 5)
    totals = np.sum([entry["sums"] for entry in means], axis=0)
    assert totals.tolist() == [10.0, 5.0]


# What the base promises to a model of one's own


def test_noise_depends_on_seed_and_step_alone() -> None:
    module = new_model("simgcl")
    module._seed = 3
    before = torch.get_rng_state()
    first = torch.rand(4, generator=module.step_generator())
    assert torch.equal(first, torch.rand(4, generator=module.step_generator()))
    assert not torch.equal(first, torch.rand(4, generator=module.step_generator(1)))
    module._seed = 4
    assert not torch.equal(first, torch.rand(4, generator=module.step_generator()))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_drawn_once_an_epoch_depends_on_seed_and_epoch_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = new_model("simgcl")
    module._seed = 3
    first = torch.rand(4, generator=module.epoch_generator())
    assert torch.equal(first, torch.rand(4, generator=module.epoch_generator()))
    assert not torch.equal(first, torch.rand(4, generator=module.step_generator()))
    monkeypatch.setattr(type(module), "current_epoch", 1)
    assert not torch.equal(first, torch.rand(4, generator=module.epoch_generator()))


def test_settings_of_the_evaluation_are_arguments_of_every_model() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(RecommenderModule, "model")
    name = "tests.extending.parts.simgcl.SimGcl"
    config = parser.parse_args(["--model", name, "--model.ks", "[3, 9]", "--model.noise", "0.3"])
    model = parser.instantiate_classes(config).model
    assert isinstance(model, SimGcl)
    assert (model.ks, model.noise) == ((3, 9), 0.3)
    assert model.hparams["ks"] == [3, 9]
    assert model.hparams["learning_rate"] == 0.02
    assert model.hparams["memory_budget_mb"] == 1024


class Clustered(Vbpr):
    """Buffers of features: one that travels, one that does not, one of a shape of its own."""

    resized_buffers = ("chosen",)
    chosen: torch.Tensor
    lengths: torch.Tensor

    def build(self, inputs: ModelInputs) -> None:
        super().build(inputs)
        rows = (self.features.sum(dim=1) > 0).nonzero().flatten()
        self.register_buffer("chosen", rows)
        self.register_buffer("lengths", self.features.sum(dim=1), persistent=False)


def test_what_is_computed_from_features_comes_back(catalogue: Path, tmp_path: Path) -> None:
    data, fit = demo_data(catalogue), trainer(tmp_path, 1)
    module = Clustered(embedding_dim=8, **EVALUATION)
    fit.fit(module, datamodule=data)
    fit.save_checkpoint(tmp_path / "x.ckpt")
    loaded = Clustered.load_from_checkpoint(tmp_path / "x.ckpt")
    assert len(loaded.chosen)
    same_state(loaded.state_dict(), module.state_dict())
    assert not loaded.lengths.any()
    before = torch.get_rng_state()
    loaded.connect(data.model_inputs)
    assert torch.equal(loaded.lengths, module.lengths)
    same_state(loaded.state_dict(), module.state_dict())
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_imported_for_a_checkpoint_but_plug_ins(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = trainer(tmp_path, 1)
    fit.fit(MostPopular(), datamodule=demo_data(catalogue))
    fit.save_checkpoint(tmp_path / "x.ckpt")
    (tmp_path / "lurking.py").write_text(
        "from slifmr_pl.models.most_popular import MostPopular\nclass Mine(MostPopular): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    checkpoint = torch.load(tmp_path / "x.ckpt", weights_only=True)
    checkpoint["slifmr"] |= {"model": "lurking.Mine", "plugins": {"lurking": "1.2"}}
    torch.save(checkpoint, tmp_path / "y.ckpt")
    with pytest.raises(CheckpointError, match="--plugins lurking") as refused:
        load_model(tmp_path / "y.ckpt")
    assert "written with the plug-ins lurking 1.2" in str(refused.value)
    assert "lurking" not in sys.modules
    monkeypatch.setattr(plugins, "_named", [])
    plugins.load(["lurking"])
    try:
        assert type(load_model(tmp_path / "y.ckpt")).__name__ == "Mine"
    finally:
        del sys.modules["lurking"]


def test_checkpoint_of_an_earlier_format_says_what_to_do(tmp_path: Path) -> None:
    torch.save({"slifmr": {"format_version": 5}}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="format version 5") as refused:
        load_model(tmp_path / "x.ckpt")
    assert "train again" in refused.value.fix


def test_arguments_that_are_not_plain_are_refused() -> None:
    with pytest.raises(ConfigError, match="plain arguments"):
        SimGcl(noise=torch.ones(()))  # type: ignore[arg-type]


class Together(RecommenderModule):
    """Items that the same users have, by their history alone."""

    together: torch.Tensor

    def build(self, inputs: ModelInputs) -> None:
        graph = inputs.graph
        matrix = torch.zeros(graph.n_users, graph.n_items)
        matrix[graph.users, graph.items] = 1
        self.register_buffer("together", matrix.T @ matrix)
        self.unused = torch.nn.Parameter(torch.zeros(()))
        self.learning_rate = 0.1

    def loss(self, batch: TrainBatch) -> torch.Tensor:
        return self.unused**2

    def history_scores(self, offsets: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        sums = torch.nn.functional.embedding_bag(items, self.together, offsets[:-1], mode="sum")
        return sums


def test_a_model_of_histories_alone_is_ranked_and_served(catalogue: Path, tmp_path: Path) -> None:
    data, fit = demo_data(catalogue), trainer(tmp_path, 1)
    fit.fit(Together(**EVALUATION), datamodule=data)
    fit.save_checkpoint(tmp_path / "x.ckpt")
    model = Together.load_from_checkpoint(tmp_path / "x.ckpt")
    matrix = torch.zeros(model.together.shape[0], dtype=torch.float32)
    graph = data.model_inputs.graph
    matrix[graph.items[graph.users == 3]] = 1
    assert torch.equal(model.scores(torch.tensor([3]))[0], matrix @ model.together)
    served = Recommender.from_checkpoint(tmp_path / "x.ckpt")
    first = catalogue_of(model).items.ids[0].as_py()
    assert len(served.recommend_for_history([first], k=3)) == 3


class Silent(RecommenderModule):
    def build(self, inputs: ModelInputs) -> None:
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def loss(self, batch: TrainBatch) -> dict[str, torch.Tensor]:
        return {"ranking": self.weight}


class Misnamed(Silent):
    learning_rate = 0.1

    def scores(self, users: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(users), self.n_items)


def test_a_model_that_ranks_nothing_is_refused_before_training(
    catalogue: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="Silent gives nothing to rank items by"):
        trainer(tmp_path, 1).fit(Silent(), datamodule=demo_data(catalogue))
    with pytest.raises(ConfigError, match=r"Misnamed\.loss gave ranking"):
        trainer(tmp_path, 1).fit(Misnamed(), datamodule=demo_data(catalogue))


def test_row_numbers_of_a_checkpoint_are_checked_before_they_are_used(
    catalogue: Path, tmp_path: Path
) -> None:
    fit = trainer(tmp_path, 1)
    fit.fit(ItemKnn(neighbours=3, **EVALUATION), datamodule=demo_data(catalogue))
    fit.save_checkpoint(tmp_path / "x.ckpt")
    checkpoint = torch.load(tmp_path / "x.ckpt", weights_only=True)
    checkpoint["state_dict"]["item_neighbours"][0, 0] = 10**6
    torch.save(checkpoint, tmp_path / "y.ckpt")
    with pytest.raises(CheckpointError, match="item_neighbours"):
        load_model(tmp_path / "y.ckpt")
