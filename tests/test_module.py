from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch import Tensor

from slifmr_pl.checkpoints.format import FORMAT_VERSION
from slifmr_pl.data.batches import EvalBatch, EvalBatches, TrainBatches
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.errors import CheckpointError, ConfigError
from slifmr_pl.graphs.correlation import CosineBuilder
from slifmr_pl.models.most_popular import MostPopular
from slifmr_pl.module import SlifMrModule
from slifmr_pl.nn.network import Representations
from slifmr_pl.nn.network_config import (
    KnowledgeConfig,
    ModalityConfig,
    NetworkConfig,
    RegressionConfig,
)
from slifmr_pl.nn.optimizer import OptimizerConfig
from slifmr_pl.nn.self_loop import SelfLoopConfig
from tests.nn.test_reference import Gated
from tests.tiny_runs import Metrics, demo_data, every_epoch, full_model, state, trainer

EPOCHS = 4
MONITOR = "val/recall@20"  # best in an epoch before the last


class Run:
    """A whole run with a checkpoint of each epoch and, in epoch 2, one after 3 of 8 batches."""

    def __init__(self, catalogue: Path, folder: Path) -> None:
        self.folder = folder
        self.data = demo_data(catalogue)
        self.module = full_model()
        self.metrics = Metrics()
        self.losses: list[float] = []
        self.trainer = trainer(
            folder,
            EPOCHS,
            self.metrics,
            Losses(self.losses),
            every_epoch(folder / "epochs"),
            ModelCheckpoint(folder / "best", filename="best", monitor=MONITOR, mode="max"),
            MidEpoch(folder / "middle.ckpt", epoch=2, batch=2),
        )
        self.trainer.fit(self.module, datamodule=self.data)
        self.state = state(self.module)
        self.optimizer = self.trainer.optimizers[0].state_dict()


class Losses(Callback):
    def __init__(self, losses: list[float]) -> None:
        self.losses = losses

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        self.losses.append(float(outputs["loss"]))


class MidEpoch(Callback):
    def __init__(self, path: Path, epoch: int, batch: int) -> None:
        self.path, self.epoch, self.batch = path, epoch, batch

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            trainer.save_checkpoint(self.path)


@pytest.fixture(scope="module")
def run(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(catalogue, tmp_path_factory.mktemp("run"))


@torch.no_grad()
def training_auc(module: SlifMrModule) -> float:
    """Chance that a training item of a user outranks another item."""
    assert module.inputs is not None
    # Without the regression, whose scores of training items are of no use.
    graph, views = module.inputs.graph, module.network(module.propagation)
    scores = views.users @ views.items.T
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[graph.users, graph.items] = True
    above = [
        (row[mask].unsqueeze(1) > row[~mask]).float().mean()
        for row, mask in zip(scores, positive, strict=True)
    ]
    return float(torch.stack(above).mean())


def test_training_lowers_the_loss_and_ranks_what_users_took_higher(run: Run) -> None:
    batches = len(run.losses) // EPOCHS
    assert sum(run.losses[-batches:]) < 0.9 * sum(run.losses[:batches])
    untrained = full_model()
    untrained.build(run.data.model_inputs)
    assert training_auc(run.module) > training_auc(untrained) + 0.1


@torch.no_grad()
def test_regression_is_added_to_the_scores_and_to_no_other_view(run: Run) -> None:
    views, plain = run.module.representations(), run.module.network(run.module.propagation)
    scores, own = views.users @ views.items.T, plain.users @ plain.items.T
    assert not torch.allclose(scores, own, rtol=0.01)
    dim = plain.items.shape[1]
    assert torch.equal(views.users[:, :dim], plain.users)
    assert torch.equal(views.items[:, :dim], plain.items)
    assert torch.equal(views.interaction, plain.interaction)
    assert run.module.self_loop.feedback.shape == plain.items.shape


def test_weight_of_the_regression_is_chosen_at_each_validation_of_fit_and_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = iter([0.5, 0.1, 0.75])
    asked = []

    def choose(users: Tensor, items: Tensor, *others: Any, **more: Any) -> float:
        asked.append((users.shape[1], items.shape[1]))
        return next(weights)

    monkeypatch.setattr("slifmr_pl.module.best_weight", choose)
    module = full_model()
    fit = trainer(tmp_path, 3, every_epoch(tmp_path), num_sanity_val_steps=1)
    fit.fit(module, datamodule=run.data)
    saved = [
        full_checkpoint(tmp_path / f"epoch={epoch}.ckpt")["slifmr"]["regression"]["weight"]
        for epoch in range(3)
    ]
    assert saved == [0.5, 0.1, 0.75]
    assert asked == [(16, 16)] * 3  # without what the regression adds
    assert float(fit.callback_metrics["regression/weight"]) == 0.75
    loaded = SlifMrModule.load_from_checkpoint(tmp_path / "epoch=1.ckpt")
    fit.validate(loaded, datamodule=run.data, verbose=False)
    fit.test(loaded, datamodule=run.data, verbose=False)
    regression = loaded.regression()
    assert regression is not None
    assert regression.weight == 0.1


def test_fixed_weight_is_not_chosen(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("slifmr_pl.module.best_weight")
    regression = RegressionConfig(weight=0.2)
    module = full_model(network=NetworkConfig(embedding_dim=16, regression=regression))
    fit = trainer(tmp_path, 1)
    fit.fit(module, datamodule=run.data)
    assert "regression/weight" not in fit.callback_metrics


def test_checkpoint_of_an_epoch_without_validation_scores_alone(run: Run, tmp_path: Path) -> None:
    module = full_model()
    fit = trainer(tmp_path, 1, limit_val_batches=0)
    fit.fit(module, datamodule=run.data)
    fit.save_checkpoint(tmp_path / "last.ckpt")
    loaded = SlifMrModule.load_from_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(loaded.representations().items, module.representations().items)


def test_self_loop_builds_a_graph_and_changes_it(run: Run) -> None:
    loops = [
        full_checkpoint(run.folder / "epochs" / f"epoch={epoch}.ckpt")["state_dict"]
        for epoch in range(EPOCHS)
    ]
    current = [loop["self_loop.current_neighbours"] for loop in loops]
    following = [loop["self_loop.next_neighbours"] for loop in loops]
    assert (current[0] == -1).all()
    assert (following[0] >= 0).any()
    for epoch in range(1, EPOCHS):
        assert torch.equal(current[epoch], following[epoch - 1])
        assert not torch.equal(current[epoch], following[epoch])


@pytest.mark.parametrize("epoch", range(EPOCHS))
def test_checkpoint_reproduces_its_validated_metrics_to_the_last_digit(
    run: Run, epoch: int
) -> None:
    module = full_model()
    path = run.folder / "epochs" / f"epoch={epoch}.ckpt"
    again = trainer(run.folder, 1).validate(
        module, datamodule=run.data, ckpt_path=str(path), verbose=False
    )[0]
    assert again == run.metrics.epochs[epoch]


def test_the_other_buffer_would_give_other_metrics(run: Run) -> None:
    """Shows that the test above can fail: with the next graph the numbers differ."""
    module = SlifMrModule.load_from_checkpoint(run.folder / "epochs" / "epoch=0.ckpt")
    before = module.representations().items
    module.on_train_epoch_start()
    assert not torch.equal(before, module.representations().items)


def test_best_checkpoint_is_that_of_the_best_validated_epoch(run: Run) -> None:
    best = max(run.metrics.epochs.values(), key=lambda metrics: metrics[MONITOR])
    result = trainer(run.folder, 1).validate(
        full_model(),
        datamodule=run.data,
        ckpt_path=str(run.folder / "best" / "best.ckpt"),
        verbose=False,
    )[0]
    assert result[MONITOR] == best[MONITOR]


@pytest.mark.parametrize("start", ["epochs/epoch=0", "epochs/epoch=1", "best/best", "middle"])
def test_resumed_run_equals_the_uninterrupted_one(
    run: Run, catalogue: Path, tmp_path: Path, start: str
) -> None:
    module, metrics = full_model(), Metrics()
    pl.seed_everything(999, verbose=False)
    resumed = trainer(tmp_path, EPOCHS, metrics, every_epoch(tmp_path))
    resumed.fit(
        module, datamodule=demo_data(catalogue), ckpt_path=str(run.folder / f"{start}.ckpt")
    )
    again = state(module)
    assert again.keys() == run.state.keys()
    for name, tensor in run.state.items():
        assert torch.equal(tensor, again[name]), name
    assert_same(resumed.optimizers[0].state_dict(), run.optimizer)
    for epoch, values in metrics.epochs.items():
        assert values == run.metrics.epochs[epoch]
    assert metrics.losses
    for epoch, values in metrics.losses.items():
        assert values == run.metrics.losses[epoch]  # also of the epoch that was resumed halfway
    assert resumed.global_step == run.trainer.global_step


@pytest.mark.parametrize(
    "options",
    [{"check_val_every_n_epoch": 2}, {"val_check_interval": 0.5}, {"accumulate_grad_batches": 3}],
    ids=str,
)
def test_resume_is_exact_from_every_checkpoint_of_other_schedules(
    catalogue: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    module = full_model()
    checkpoints = ModelCheckpoint(
        tmp_path / "saved", filename="{step}", save_top_k=-1, monitor="val/recall@20", mode="max"
    )
    trainer(tmp_path, 3, checkpoints, **options).fit(module, datamodule=demo_data(catalogue))
    saved = sorted((tmp_path / "saved").iterdir())
    assert saved
    for path in saved:
        resumed = full_model()
        trainer(tmp_path, 3, **options).fit(
            resumed, datamodule=demo_data(catalogue), ckpt_path=str(path)
        )
        for name, tensor in state(module).items():
            assert torch.equal(tensor, resumed.state_dict()[name]), (path.name, name)


def test_resume_with_max_steps_is_refused(run: Run, catalogue: Path, tmp_path: Path) -> None:
    path = str(run.folder / "epochs" / "epoch=0.ckpt")
    with pytest.raises(ConfigError, match="max_steps"):
        trainer(tmp_path, EPOCHS, max_steps=12).fit(
            full_model(), datamodule=demo_data(catalogue), ckpt_path=path
        )


def test_mixed_precision_with_clipped_gradients_trains(catalogue: Path, tmp_path: Path) -> None:
    module = full_model()
    options = {"precision": "bf16-mixed", "gradient_clip_val": 1.0}
    trainer(tmp_path, 2, **options).fit(module, datamodule=demo_data(catalogue))
    assert all(parameter.isfinite().all() for parameter in module.parameters())


def test_extending_a_finished_run_equals_a_longer_one(
    run: Run, catalogue: Path, tmp_path: Path
) -> None:
    longer = full_model()
    trainer(tmp_path / "a", EPOCHS + 1).fit(longer, datamodule=demo_data(catalogue))
    extended = full_model()
    last = run.folder / "epochs" / f"epoch={EPOCHS - 1}.ckpt"
    trainer(tmp_path / "b", EPOCHS + 1).fit(
        extended, datamodule=demo_data(catalogue), ckpt_path=str(last)
    )
    for name, tensor in state(longer).items():
        assert torch.equal(tensor, extended.state_dict()[name]), name


def test_same_seed_gives_the_same_run(run: Run, catalogue: Path, tmp_path: Path) -> None:
    """Also where features are extracted instead of reused: encoders draw no random numbers."""
    module = full_model()
    data = demo_data(catalogue, cache_dir=str(tmp_path / "cache"))
    trainer(tmp_path, EPOCHS).fit(module, datamodule=data)
    for name, tensor in run.state.items():
        assert torch.equal(tensor, module.state_dict()[name]), name


def test_checkpoint_alone_scores_like_the_trained_module(run: Run) -> None:
    path = run.folder / "epochs" / f"epoch={EPOCHS - 1}.ckpt"
    module = SlifMrModule.load_from_checkpoint(path)
    assert module.hparams == run.module.hparams
    alone, trained = module.representations(), run.module.representations()
    assert torch.equal(alone.users, trained.users)
    assert torch.equal(alone.items, trained.items)


def test_loaded_module_can_be_tested_and_trained_on(
    run: Run, catalogue: Path, tmp_path: Path
) -> None:
    path = run.folder / "epochs" / "epoch=1.ckpt"
    module = SlifMrModule.load_from_checkpoint(path)
    result = trainer(tmp_path, 1).validate(module, datamodule=run.data, verbose=False)[0]
    assert result == run.metrics.epochs[1]
    trainer(tmp_path, 1).fit(module, datamodule=demo_data(catalogue))


def test_checkpoint_holds_plain_types_and_tensors_only(run: Run) -> None:
    checkpoint = full_checkpoint(run.folder / "epochs" / "epoch=0.ckpt")
    assert checkpoint["slifmr"]["format_version"] == FORMAT_VERSION
    assert checkpoint["slifmr"]["fingerprint"] == run.data.model_inputs.fingerprint


def test_resume_on_other_data_is_refused(run: Run, catalogue: Path, tmp_path: Path) -> None:
    path = str(run.folder / "epochs" / "epoch=0.ckpt")
    other = demo_data(catalogue, neighbours=4)
    with pytest.raises(CheckpointError, match="fingerprint"):
        trainer(tmp_path, EPOCHS).fit(full_model(), datamodule=other, ckpt_path=path)


@pytest.mark.parametrize(
    "damage",
    [
        *(f"truncated {share}" for share in (0, 0.0001, 0.01, 0.1, 0.5, 0.99)),
        "foreign",
        "text",
        "pickled",
        "newer",
        "altered",
        "missing",
    ],
)
def test_unusable_checkpoint_is_refused_with_a_reason(
    run: Run, tmp_path: Path, damage: str
) -> None:
    whole = run.folder / "epochs" / "epoch=0.ckpt"
    path = tmp_path / "damaged.ckpt"
    if damage.startswith("truncated"):
        content = whole.read_bytes()
        path.write_bytes(content[: int(len(content) * float(damage.split()[1]))])
        expected = "cannot be read"
    elif damage == "foreign":
        torch.save({"state_dict": {}}, path)
        expected = "no entry 'slifmr'"
    elif damage == "text":
        path.write_text("not a checkpoint")
        expected = "cannot be read"
    elif damage == "pickled":
        torch.save({"slifmr": Path("executed")}, path)
        expected = "cannot be read"
    elif damage == "newer":
        torch.save({"slifmr": {"format_version": 99}}, path)
        expected = "format version 99"
    elif damage == "altered":
        checkpoint = full_checkpoint(whole)
        del checkpoint["hyper_parameters"]
        torch.save(checkpoint, path)
        expected = "no entry 'hyper_parameters'"
    else:
        expected = "no such checkpoint"
    with pytest.raises(CheckpointError, match=expected):
        SlifMrModule.load_from_checkpoint(path)


class OtherData(pl.LightningDataModule):
    """Somebody's own."""

    def __init__(self, data: SlifMrDataModule) -> None:
        super().__init__()
        self.data = data

    def train_dataloader(self) -> TrainBatches:
        return self.data.train_dataloader()

    def val_dataloader(self) -> EvalBatches:
        return self.data.val_dataloader()


def test_trainer_without_data_module_is_refused(tmp_path: Path, run: Run) -> None:
    with pytest.raises(ConfigError, match="no data module") as refused:
        trainer(tmp_path, 1).fit(full_model(), run.data.train_dataloader())
    assert "Trainer.fit(module, datamodule=SlifMrDataModule(…))" in str(refused.value)
    other = OtherData(run.data)
    with pytest.raises(ConfigError, match="is a OtherData"):
        trainer(tmp_path, 1).fit(full_model(), datamodule=other)


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "16-true"])
def test_precision_that_the_graphs_do_not_have_is_refused(
    tmp_path: Path, run: Run, precision: str
) -> None:
    with pytest.raises(ConfigError, match=f"precision {precision}"):
        trainer(tmp_path, 1, precision=precision).fit(full_model(), datamodule=run.data)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"network": NetworkConfig(embedding_dim=16, fusion="late")}, "network.fusion"),
        ({"self_loop": SelfLoopConfig(momentum=0.5)}, "self_loop.momentum"),
    ],
)
def test_checkpoint_of_other_settings_is_refused_by_every_stage(
    run: Run, tmp_path: Path, options: dict[str, Any], key: str
) -> None:
    path = str(run.folder / "epochs" / "epoch=1.ckpt")
    for stage in ("fit", "validate", "predict"):
        with pytest.raises(CheckpointError, match=f"{key} is .* in the checkpoint"):
            getattr(trainer(tmp_path, EPOCHS), stage)(
                full_model(**options), datamodule=run.data, ckpt_path=path
            )


def test_settings_of_training_alone_may_differ_where_nothing_is_trained(
    run: Run, tmp_path: Path
) -> None:
    path = str(run.folder / "epochs" / "epoch=1.ckpt")
    other = full_model(optimizer=OptimizerConfig(learning_rate=0.5), ks=(5, 20))
    metrics = trainer(tmp_path, 1).validate(other, run.data, ckpt_path=path, verbose=False)[0]
    assert metrics == run.metrics.epochs[1]
    with pytest.raises(CheckpointError, match=r"optimizer\.learning_rate is 0\.5"):
        trainer(tmp_path, EPOCHS).fit(other, datamodule=run.data, ckpt_path=path)


def test_loaded_module_takes_settings_of_a_run_and_no_others(run: Run) -> None:
    path = run.folder / "epochs" / "epoch=1.ckpt"
    module = SlifMrModule.load_from_checkpoint(path, top_k=3, ks=(1,))
    assert (module.top_k, module.ks) == (3, (1,))
    with pytest.raises(ConfigError, match="load_from_checkpoint with network"):
        SlifMrModule.load_from_checkpoint(path, network=NetworkConfig())


def test_checkpoint_of_another_model_is_named_as_one(run: Run, tmp_path: Path) -> None:
    fit = trainer(tmp_path, 1)
    fit.fit(MostPopular(), datamodule=run.data)
    fit.save_checkpoint(tmp_path / "x.ckpt")
    expected = r"the checkpoint is of slifmr_pl\.models\.most_popular\.MostPopular"
    with pytest.raises(CheckpointError, match=expected):
        SlifMrModule.load_from_checkpoint(tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=expected):
        trainer(tmp_path, 1).test(full_model(), run.data, ckpt_path=str(tmp_path / "x.ckpt"))


def test_predictions_are_unseen_items_best_first(run: Run) -> None:
    lists = trainer(run.folder, 1).predict(run.module, datamodule=run.data)
    assert lists is not None
    for batch, ranked in zip(run.data.predict_dataloader(), lists, strict=True):
        assert isinstance(batch, EvalBatch)
        assert (ranked.values.diff(dim=1) <= 0).all()
        for row in range(len(batch.users)):
            known = batch.known_items[batch.known_offsets[row] : batch.known_offsets[row + 1]]
            assert not set(known.tolist()) & set(ranked.indices[row].tolist())


@pytest.mark.parametrize(
    "options",
    [
        {"self_loop": SelfLoopConfig(enabled=False)},
        {"self_loop": SelfLoopConfig(warmup=2, period=2, weighted=True)},
        {"network": NetworkConfig(embedding_dim=8, knowledge=KnowledgeConfig(enabled=False))},
        {"network": NetworkConfig(embedding_dim=8, modality=ModalityConfig(enabled=False))},
        {"network": NetworkConfig(embedding_dim=8, knowledge=KnowledgeConfig(layers=2))},
        {"network": NetworkConfig(embedding_dim=8, user_fusion=0.5)},
    ],
    ids=["no loop", "slow loop", "no knowledge", "no modality", "two layers", "user fusion"],
)
def test_each_part_can_be_switched_and_its_checkpoint_stands_alone(
    catalogue: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    module = full_model(**options)
    fit = trainer(tmp_path, 3)
    fit.fit(module, datamodule=demo_data(catalogue))
    fit.save_checkpoint(tmp_path / "x.ckpt")
    alone = SlifMrModule.load_from_checkpoint(tmp_path / "x.ckpt")
    assert torch.equal(alone.representations().items, module.representations().items)


def full_checkpoint(path: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    return checkpoint


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


class Flipped(SlifMrModule):
    """Vectors of its own, which every evaluation has to rank by."""

    def representations(self) -> Representations:
        views = super().representations()
        return replace(views, items=views.items.flip(0))


def test_validation_ranks_by_the_representations_of_a_subclass(
    run: Run, catalogue: Path, tmp_path: Path
) -> None:
    options = {"datamodule": demo_data(catalogue), "verbose": False}
    path = run.folder / "epochs" / "epoch=1.ckpt"
    module = SlifMrModule.load_from_checkpoint(path)
    (plain,) = trainer(tmp_path, 1).validate(module, **options)
    module.__class__ = Flipped
    (flipped,) = trainer(tmp_path, 1).validate(module, **options)
    assert flipped["val/recall@20"] < plain["val/recall@20"]


def test_a_class_in_place_of_a_setting_is_another_setting(
    run: Run, catalogue: Path, tmp_path: Path
) -> None:
    module = full_model(self_loop=SelfLoopConfig(builder=CosineBuilder(4)))
    with pytest.raises(CheckpointError, match=r"self_loop\.builder"):
        trainer(tmp_path, 3).fit(
            module, datamodule=demo_data(catalogue), ckpt_path=run.folder / "middle.ckpt"
        )


def test_fused_propagation_of_learned_edges_is_refused_at_once() -> None:
    loop = SelfLoopConfig(entries=[Gated()])
    with pytest.raises(ConfigError, match="propagation: fused"):
        SlifMrModule(NetworkConfig(propagation="fused"), loop)
