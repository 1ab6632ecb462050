"""What early stopping and checkpoints watch, checked before any data are read."""

import re
from difflib import get_close_matches

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from slifmr_pl.config.bounds import is_number, require
from slifmr_pl.errors import ConfigError
from slifmr_pl.metrics.definitions import built_in_metrics
from slifmr_pl.models.ranking_module import RankingModule

_OWN = ("slifmr_pl", "pytorch_lightning")  # packages of which it is known what they log


def check_monitors(trainer: pl.Trainer, module: RankingModule) -> None:
    """Refuses to watch what `fit` will not measure, which would end it after its first epoch.

    What a model or a callback of the user's logs is not known beforehand, and not refused.

    Args:
        trainer: With its callbacks.
        module: What is to be trained.

    Raises:
        ConfigError: If a monitor, a patience or a least change cannot be.
    """
    for callback in trainer.early_stopping_callbacks:
        assert isinstance(callback, EarlyStopping)
        patience, least = callback.patience, callback.min_delta
        holds = is_number(patience, least=0, whole=True)
        require(
            "early_stopping",
            ("patience", patience, holds, "a whole number of at least 0"),
            ("min_delta", least, is_number(least), "a number"),
        )
        _check(callback.monitor, "early_stopping", trainer, module)
        _check_direction(callback.monitor, callback.mode, "early_stopping", module)
    for saver in trainer.checkpoint_callbacks:
        if isinstance(saver, ModelCheckpoint) and saver.monitor is not None:
            _check(saver.monitor, "checkpoint", trainer, module)
            _check_direction(saver.monitor, saver.mode, "checkpoint", module)


def _check(monitor: str, section: str, trainer: pl.Trainer, module: RankingModule) -> None:
    metrics = [metric.name for metric in (*built_in_metrics(), *module.extra_metrics)]
    known = [f"val/{name}@{k}" for name in metrics for k in module.ks]
    known += ["val/n_users", "val/n_users_without_relevant"]
    others = [type(module), *map(type, getattr(trainer, "callbacks", []))]
    may_log_more = any(kind.__module__.partition(".")[0] not in _OWN for kind in others)
    cut = re.fullmatch(r"val/(.+)@(\d+)", monitor)
    of_metric = cut is not None and cut[1] in metrics
    elsewhere = "/" in monitor and not monitor.startswith(("val/", "test/"))  # such as train/loss
    if (
        monitor in (*known, "recall")  # the latter is what the progress bar shows
        or elsewhere
        or (may_log_more and not of_metric and not monitor.startswith("test/"))
    ):
        return
    if cut is not None and of_metric and int(cut[2]) > 0:
        nearest = min(module.ks, key=lambda k: abs(k - int(cut[2])))
        fix = f"add {cut[2]} to model.ks, or monitor val/{cut[1]}@{nearest}"
    else:
        wanted = monitor.replace("test/", "val/", 1)
        near = get_close_matches(wanted, known, n=1) or [f"val/recall@{max(module.ks)}"]
        fix = f"for example {near[0]}"
    raise ConfigError(
        f"{section}.monitor is {monitor}, which fit does not measure",
        expected=f"val/METRIC@k with METRIC one of {', '.join(metrics)} and k one of "
        f"{', '.join(map(str, module.ks))} (model.ks)",
        fix=fix,
    )


def _check_direction(monitor: str, mode: str, section: str, module: RankingModule) -> None:
    """Refuses to keep the worst of what is measured."""
    for metric in (*built_in_metrics(), *module.extra_metrics):
        better = metric.higher_is_better
        if monitor.startswith(f"val/{metric.name}@") and better is not None:
            wanted, why = ("max", "more") if better else ("min", "less")
            expected = f"{wanted}: of {metric.name}, {why} is better"
            require(section, ("mode", mode, mode == wanted, expected))
