"""What loggers show of a whole run: its settings beside its best validation metrics."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from slifmr_pl.callbacks.epoch_facts import better_value
from slifmr_pl.config.conversion import flat
from slifmr_pl.config.parts import class_path
from slifmr_pl.recommendation_datamodule import data_module_of


class HyperParameters(Callback):
    """Logs the validation metrics of the best epoch as `best/METRIC@k` when a training ends.

    TensorBoard's HPARAMS gets a row for the run: settings of the model and of its data, these
    metrics, and those of the test once there has been one. `metrics.csv` has all epochs already.
    """

    def __init__(self) -> None:
        self._monitored: float | None = None
        self._best: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """The best epoch so far, for a run that goes on."""
        return {"monitored": self._monitored, "best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the best epoch of a checkpoint."""
        self._monitored, self._best = state_dict["monitored"], dict(state_dict["best"])

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps the metrics of an epoch that is the best so far."""
        value = better_value(trainer, self._monitored)
        if value is not None:
            self._monitored = value
            self._best = {
                key.replace("val/", "best/", 1): float(one)
                for key, one in trainer.callback_metrics.items()
                if key.startswith("val/") and "@" in key
            }

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs them."""
        self._log(trainer, pl_module)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Logs what there is, also of a run that was stopped."""
        self._log(trainer, pl_module)

    @rank_zero_only
    def _log(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._best:
            return
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):
                logger.log_metrics(self._best, step=trainer.global_step)
            if isinstance(logger, TensorBoardLogger):
                settings = {
                    "model": {"class": class_path(type(pl_module)), **pl_module.hparams},
                    "data": data_module_of(trainer).preparation,
                }
                later = [name.replace("best/", "test/", 1) for name in self._best]
                _write_row(logger, settings, [*self._best, *later])


def _write_row(logger: TensorBoardLogger, settings: dict[str, Any], metrics: list[str]) -> None:
    """Writes a run's row; the values of its metrics are those of the scalars of that name."""
    from torch.utils.tensorboard.summary import hparams  # takes a second to import

    plain = {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in flat(settings, whole_parts=True).items()
    }
    writer = logger.experiment._get_file_writer()
    for summary in hparams(plain, dict.fromkeys(metrics, 0.0)):
        writer.add_summary(summary)
    logger.experiment.flush()
