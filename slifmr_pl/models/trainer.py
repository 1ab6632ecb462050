"""What a model asks of its Trainer: hardware that it can compute on."""

import pytorch_lightning as pl

from slifmr_pl.config.bounds import is_number, require, require_counts
from slifmr_pl.errors import ConfigError

_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


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
