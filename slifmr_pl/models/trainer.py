"""What a model asks of its Trainer: data, and hardware that it can compute on."""

from collections.abc import Iterable

import pytorch_lightning as pl

from slifmr_pl.config.bounds import is_number, require, require_counts
from slifmr_pl.data.batches import EvalBatch
from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.model_inputs import ModelInputs

_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def inputs_of(trainer: pl.Trainer) -> ModelInputs:
    """Graphs and features of a trainer's data module.

    Raises:
        ConfigError: If it has none.
    """
    data = getattr(trainer, "datamodule", None)
    inputs = getattr(data, "model_inputs", None)
    if not isinstance(inputs, ModelInputs):
        name = "the Trainer has no data module"
        if data is not None:
            name = f"the data module is a {type(data).__name__} without model_inputs"
        stage = "fit" if trainer.state.fn is None else trainer.state.fn.value
        raise ConfigError(
            name,
            expected="a RecommendationDataModule: graphs and features besides the batches",
            fix=f"call Trainer.{stage}(module, datamodule=SlifMrDataModule(…))",
        )
    return inputs


def check_hardware(trainer: pl.Trainer) -> None:
    """Refuses devices and precisions that graphs and scores cannot be computed with.

    Raises:
        ConfigError: If so.
    """
    if trainer.strategy.root_device.type == "mps":
        raise ConfigError(
            "the accelerator is MPS, which has no sparse CSR product",
            expected="a CPU or a CUDA device",
            fix="Trainer(accelerator='cpu')",
        )
    if trainer.precision not in _PRECISIONS:
        raise ConfigError(
            f"precision {trainer.precision}: features, graphs and scores are float32",
            expected=f"one of {', '.join(_PRECISIONS)}",
            fix="Trainer(precision='bf16-mixed') is the fast one on a GPU",
        )


def check_training(trainer: pl.Trainer) -> None:
    """Refuses settings of a Trainer that it would end with an error later, or train backwards.

    Raises:
        ConfigError: If one cannot be.
    """
    every, clip = trainer.check_val_every_n_epoch, trainer.gradient_clip_val
    interval = getattr(trainer, "val_check_interval", None)  # absent where it is a duration
    limit = trainer.limit_train_batches
    counts = {"accumulate_grad_batches": 1, "log_every_n_steps": 0}
    for name, least in counts.items():
        require_counts("trainer", least, **{name: getattr(trainer, name)})
    if every is not None:
        require_counts("trainer", 1, check_val_every_n_epoch=every)
    positive = interval is None or interval > 0
    require(
        "trainer",
        ("gradient_clip_val", clip, clip is None or is_number(clip, least=0), "0 or more"),
        ("val_check_interval", interval, positive, "more than 0"),
        ("limit_train_batches", limit, limit != 0, "more than 0, since nothing is trained on"),
    )
    watching = [
        callback
        for callback in (*trainer.early_stopping_callbacks, *trainer.checkpoint_callbacks)
        if str(getattr(callback, "monitor", "")).startswith("val/")
    ]
    if trainer.limit_val_batches == 0 and watching:
        raise ConfigError(
            f"trainer.limit_val_batches is 0, and {type(watching[0]).__name__} watches "
            f"{watching[0].monitor}",  # type: ignore[attr-defined]  # it has one
            expected="a validation that measures it",
            fix="leave limit_val_batches out",
        )


def validation_sample(trainer: pl.Trainer) -> Iterable[EvalBatch]:
    """The users to choose for, of the trainer's data module.

    Raises:
        ConfigError: If it has none.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]  # of one that has a data module
    sample: Iterable[EvalBatch] | None = getattr(data, "validation_sample", None)
    if sample is None:
        raise ConfigError(
            f"the data module is a {type(data).__name__} without validation_sample",
            expected="users to choose the regression's weight for",
            fix="set network.regression.weight, or use a RecommendationDataModule",
        )
    return sample
