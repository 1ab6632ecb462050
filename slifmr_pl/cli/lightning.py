"""The subcommands `fit`, `validate`, `test` and `predict`, configured by YAML and flags."""

import logging
import shlex
import signal
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from jsonargparse import Namespace, capture_parser
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, ModelSummary, ProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn

from slifmr_pl.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from slifmr_pl.callbacks.finite_losses import FiniteLosses
from slifmr_pl.callbacks.graceful_stop import GracefulStop
from slifmr_pl.callbacks.hyper_parameters import HyperParameters
from slifmr_pl.callbacks.parameter_summary import ParameterSummary
from slifmr_pl.callbacks.per_user import PerUserWriter
from slifmr_pl.callbacks.recommendations import RecommendationWriter
from slifmr_pl.callbacks.results import ResultTable
from slifmr_pl.callbacks.run_record import RunRecorder
from slifmr_pl.callbacks.training_progress import TrainingProgress
from slifmr_pl.checkpoints.format import read_checkpoint
from slifmr_pl.checkpoints.io import AtomicCheckpointIO
from slifmr_pl.checkpoints.settings import RUN_TIME, model_class
from slifmr_pl.cli.choice import DEFAULTS as CLASSES
from slifmr_pl.cli.choice import Choice, choose
from slifmr_pl.cli.exit_status import exit_status
from slifmr_pl.cli.logger_errors import logger_refusal
from slifmr_pl.cli.parser import SettingsParser, parameters, refusal
from slifmr_pl.config import plugins
from slifmr_pl.config.bounds import MAX_SEED
from slifmr_pl.config.conversion import flat
from slifmr_pl.config.parts import class_path
from slifmr_pl.distributed.processes import is_first_process, lost_process
from slifmr_pl.errors import ConfigError
from slifmr_pl.models.base import RecommenderModule
from slifmr_pl.recommendation_datamodule import RecommendationDataModule
from slifmr_pl.runs.atomic_files import write_whole
from slifmr_pl.runs.run_folders import (
    CONFIG_FILE,
    last_of_newest_run,
    last_path,
    new_run_folder,
    remove_unless_begun,
    run_folder,
)

SEED = 2026
MONITOR = "val/recall@20"
DEFAULTS: dict[str, Any] = {
    "early_stopping.monitor": MONITOR,
    "early_stopping.mode": "max",
    "early_stopping.patience": 15,
    "checkpoint.monitor": MONITOR,
    "checkpoint.mode": "max",
    "checkpoint.filename": f"epoch{{epoch:03d}}-recall{{{MONITOR}:.4f}}",
    "checkpoint.auto_insert_metric_name": False,
    "trainer.max_epochs": 300,
    "trainer.num_sanity_val_steps": 0,
    "trainer.log_every_n_steps": 1,
    "trainer.default_root_dir": "runs",
}
# Lightning's remarks on things that are right as they are here.
REMARKS = (
    ".*isinstance.treespec, LeafSpec.* is deprecated",
    "Couldn't infer the batch indices",
    "It is recommended to use `self.log.*sync_dist=True",  # the metrics are reduced already
    "Be aware that when using .ckpt_path.",  # `test` needs none of the callbacks of `fit`
    "The dirpath has changed",  # a resumed run writes into a folder of its own
    "Checkpoint directory .* exists and is not empty",  # what a resumed run goes on from
    "LightningCLI's args parameter is intended",
    ".*returned `None`",  # a baseline in closed form has no loss and no optimizer
)
# What it logs that says nothing of this run, or what `TrainingProgress` says, too.
_NOT_SAID = (
    "litlogger",
    "TPU available",
    "Skipping setting a default `ModelSummary`",
    "`Trainer.fit` stopped",
    "`weights_only` was not set",  # of what is saved; all checkpoints are read with it
)


class RunConfigSaver(SaveConfigCallback):
    """Saves the configuration of `fit` into the run's folder."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Saves before training; other subcommands leave the run's configuration alone.

        A copy of the checkpoint that a run goes on from is its last one, until it saves another.
        """
        if stage == "fit":
            if self.config.ckpt_path is not None and trainer.is_global_zero:
                before = Path(self.config.ckpt_path).read_bytes()
                write_whole(last_path(Path(trainer.default_root_dir)), before)
            super().setup(trainer, pl_module, stage)


class SlifMrCLI(LightningCLI):
    """LightningCLI with early stopping, checkpoints, loggers and result tables set up."""

    def __init__(self, choice: Choice, command: str, **options: Any) -> None:
        self.choice = choice
        self.command = command
        super().__init__(
            choice.classes["model"], choice.classes["data"], args=choice.args, **options
        )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Makes a parser that knows which classes are chosen."""
        parser = super().init_parser(**kwargs)
        assert isinstance(parser, SettingsParser)
        parser.choice = self.choice
        return parser

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the seed, which has to be a number here; `_batch_seed` refuses the rest."""
        parser.add_argument(
            "--seed_everything",
            type=bool | int,
            default=self.seed_everything_default,
            help="Seed of everything that is random: weights, batches, negatives.",
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the standard callbacks, so that their settings are ordinary configuration."""
        parser.add_argument(
            "--name", default="slifmr", help="Folder of the run, below trainer.default_root_dir."
        )
        parser.add_argument(
            "--plugins",
            type=list[str],
            default=[],
            help="Packages or modules with parts of your own, also of the current folder, with "
            "commas between them. --model and --data take package.module.Class.",
        )
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.add_lightning_class_args(BestCheckpoint, "checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.add_lightning_class_args(RecommendationWriter, "recommendations")
        parser.add_lightning_class_args(PerUserWriter, "per_user")
        if "seed" in parameters(self.choice.classes["data"]):
            parser.link_arguments("seed_everything", "data.seed", compute_fn=_batch_seed)
        parser.set_defaults(DEFAULTS)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, and settles what a checkpoint says about the model before anything is built."""
        super().parse_arguments(parser, args)
        subcommand = self.config.subcommand
        config = self.config[subcommand]
        if config.ckpt_path == "last":
            root = Path(config.trainer.default_root_dir) / config.name
            config.ckpt_path = str(last_of_newest_run(root))
        ckpt_path = config.ckpt_path
        if ckpt_path is not None:
            read = self.choice.checkpoints.pop(ckpt_path, None)
            self._follow_checkpoint(subcommand, read or read_checkpoint(ckpt_path))
        elif subcommand != "fit":
            raise ConfigError(
                f"{subcommand} without a checkpoint",
                expected="a trained model",
                fix="add --ckpt_path PATH; `fit` prints the path of its best one",
            )

    def _parse_ckpt_path(self) -> None:
        """Lightning's own way would override flags without a word; see `_follow_checkpoint`."""

    def _follow_checkpoint(self, subcommand: str, checkpoint: dict[str, Any]) -> None:
        """Takes the model's settings from a checkpoint; refuses other ones.

        Settings that only concern a run (`RUN_TIME`) stay as configured. To `validate`, `test` and
        `predict`, a setting left at its default is one that was not given.
        """
        config = self.config[subcommand]
        path = str(config.ckpt_path)
        chosen = self.choice.classes["model"]
        saved_model = model_class(checkpoint, RecommenderModule, path)
        if saved_model is not chosen:
            names = class_path(chosen), class_path(saved_model)
            raise ConfigError(
                f"the model is {names[0]}, and {names[1]} in the checkpoint",
                expected="the model that the checkpoint is of",
                fix="give the config.yaml of its run, or train anew without --ckpt_path",
                path=path,
            )
        every = flat(checkpoint["hyper_parameters"], whole_parts=True)
        settings = {name: saved for name, saved in every.items() if name not in RUN_TIME}
        for name in plugins.class_paths(settings):
            plugins.resolve(name, object, f"the checkpoint {path}")
        defaults = self._parser(subcommand).get_defaults()
        followed: dict[str, Any] = {}
        for name, saved in settings.items():
            key = f"model.{name}"
            given = _plain(config.get(key))
            if given == saved:
                continue
            if subcommand == "fit" or key not in config or given != _plain(defaults.get(key)):
                raise ConfigError(
                    f"{key} is {given!r}, and {saved!r} in the checkpoint",
                    expected="the settings that the checkpoint was trained with",
                    fix="give the config.yaml of its run, or train anew without --ckpt_path",
                    path=path,
                )
            followed[f"{subcommand}.{key}"] = saved
        if followed:
            self.config = self.parser.parse_object(followed, self.config)

    def before_instantiate_classes(self) -> None:
        """Settles what depends on the subcommand and the machine."""
        config = self.config[self.subcommand]
        if "verbose" in config:
            config.verbose = False  # ResultTable prints the same numbers, readably
        if (
            config.trainer.accelerator == "auto"
            and torch.backends.mps.is_available()
            and not torch.cuda.is_available()
        ):
            rank_zero_warn("MPS has no sparse CSR product: this run uses the CPU.")
            config.trainer.accelerator = "cpu"

    def instantiate_classes(self) -> None:
        """Builds data, model and trainer."""
        try:
            super().instantiate_classes()
        except Exception as error:
            refused = logger_refusal(error)
            if refused is None and isinstance(error, ValueError):
                refused = refusal(error)
            if refused is None:
                raise
            raise refused from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Builds the trainer: one folder for all of a run's files.

        `fit` opens a new folder; the other subcommands write beside the checkpoint that they use.
        """
        config = self.config_init[self.subcommand]
        settings = {**config.trainer, **kwargs}
        if self.subcommand == "fit":
            root = Path(settings["default_root_dir"]) / config.name
            folder = new_run_folder(root, claim=is_first_process())
            settings["logger"] = _loggers(folder, settings["logger"])
            last = config["last_checkpoint"]
            callbacks = [
                RunRecorder(config.seed_everything, self.command),
                FiniteLosses(),
                HyperParameters(),
                GracefulStop(last),
                config["early_stopping"],
                config["checkpoint"],
                last,
            ]
        else:
            folder = run_folder(Path(config.ckpt_path))
            settings |= {"logger": self._test_logger(folder), "enable_checkpointing": False}
            callbacks = [config["recommendations"], config["per_user"]]
        own = [*_listed(settings["callbacks"]), *callbacks]
        if settings["enable_progress_bar"] in (None, True) and not _any(own, ProgressBar):
            callbacks.append(TrainingProgress())
        if settings["enable_model_summary"] in (None, True) and not _any(own, ModelSummary):
            callbacks.append(ParameterSummary())
        settings["default_root_dir"] = str(folder)
        settings["plugins"] = [*_listed(settings["plugins"]), AtomicCheckpointIO()]
        try:
            return self._instantiate_trainer(settings, callbacks)
        except Exception:
            if self.subcommand == "fit" and is_first_process():
                remove_unless_begun(folder)
            raise

    def _test_logger(self, folder: Path) -> Logger | Literal[False]:
        """TensorBoard of the run itself, where the run wrote there; it gets the test metrics."""
        configured = self.config_init[self.subcommand].trainer.logger
        if self.subcommand != "test" or configured not in (None, True):
            return False
        return TensorBoardLogger(str(folder), name="", version="", default_hp_metric=False)

    def _run_subcommand(self, subcommand: str) -> None:
        """Runs it; where another process is gone, says so and ends those that were started here.

        Leaves no folder of a run that ended before it began to train.
        """
        try:
            super()._run_subcommand(subcommand)
        except Exception as error:
            refused = logger_refusal(error)
            if refused is not None:
                raise refused from error
            lost = lost_process(error) if isinstance(error, RuntimeError) else None
            if lost is None:
                raise
            launcher = self.trainer.strategy.launcher
            if launcher is not None:
                launcher.kill(signal.SIGKILL)  # one that hangs would stay behind
            raise lost from error
        finally:
            if subcommand == "fit" and is_first_process():
                remove_unless_begun(Path(self.trainer.default_root_dir))

    def after_fit(self) -> None:
        """Says where the best checkpoint is and how to test it."""
        callback = self.trainer.checkpoint_callback
        if isinstance(callback, ModelCheckpoint) and callback.best_model_path:
            best = callback.best_model_path
            config = run_folder(Path(best)) / CONFIG_FILE
            rank_zero_info(
                f"\nBest checkpoint ({callback.monitor} {callback.best_model_score:.4f}): {best}\n"
                f"Test it with\n  slifmr test --config {shlex.quote(str(config))} "
                f"--ckpt_path {shlex.quote(best)}"
            )


def run(
    args: list[str],
    model: type[RecommenderModule] | None = None,
    data: type[RecommendationDataModule] | None = None,
) -> int:
    """Runs one subcommand; see `slifmr_pl.cli.entry_point.main`."""
    _set_up_messages()
    with exit_status() as status:
        _run(args, {"model": model or CLASSES["model"], "data": data or CLASSES["data"]})
    return status.code


def fit_settings(args: list[str]) -> tuple[SettingsParser, dict[str, Any]]:
    """All settings of `fit` as some arguments leave them, and nothing is run.

    Args:
        args: Flags of `fit`; what it requires may be missing.

    Returns:
        Its parser, and the settings as plain types, as a configuration says them.

    Raises:
        ConfigError: A setting is none, or its value.
    """
    _set_up_messages()
    captured = capture_parser(_run, ["fit", *args], CLASSES)
    subparsers = next(one.choices for one in captured._actions if isinstance(one.choices, dict))
    parser: SettingsParser = subparsers["fit"]
    assert parser.choice is not None
    required = [action for action in parser._actions if action.required]
    for action in required:
        action.required = False
    settings = parser.parse_args(parser.choice.args[1:])
    for action in required:
        action.required = True
    text = parser.dump(settings, skip_unset=False, skip_validation=True)
    values: dict[str, Any] = yaml.safe_load(text)
    return parser, values


def _run(args: list[str], defaults: Mapping[str, type]) -> None:
    SlifMrCLI(
        choose(args, defaults),
        shlex.join(["slifmr", *args]),
        save_config_callback=RunConfigSaver,
        save_config_kwargs={"overwrite": True},
        seed_everything_default=SEED,
        trainer_defaults={"callbacks": [ResultTable()]},
        parser_class=SettingsParser,
        parser_kwargs={"prog": "slifmr"},
        load_from_checkpoint_support=False,  # models save their settings themselves
    )


def _plain(value: Any) -> Any:
    """A parsed setting as a checkpoint says it."""
    if isinstance(value, Namespace):
        return value.as_dict()
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def _listed(configured: Any) -> list[Any]:
    if configured is None:
        return []
    return configured if isinstance(configured, list) else [configured]


def _any(callbacks: list[Any], kind: type) -> bool:
    return any(isinstance(callback, kind) for callback in callbacks)


def _loggers(folder: Path, configured: Any) -> list[Logger] | Literal[False]:
    """CSV files in the run's folder, and TensorBoard's there or whatever is configured."""
    if configured is False:
        return False
    place: dict[str, Any] = {
        "save_dir": folder.parents[1],
        "name": folder.parent.name,
        "version": int(folder.name.removeprefix("version_")),
    }
    if configured in (None, True):
        return [CSVLogger(**place), TensorBoardLogger(**place, default_hp_metric=False)]
    return [CSVLogger(**place), *_listed(configured)]


def _batch_seed(seed_everything: bool | int) -> int:
    if isinstance(seed_everything, bool):
        raise ConfigError(
            f"seed_everything is {str(seed_everything).lower()}",
            expected="a whole number: batches, resume and results depend on it",
            fix=f"for example --seed_everything {SEED}",
        )
    if not 0 <= seed_everything <= MAX_SEED:
        raise ConfigError(
            f"seed_everything is {seed_everything}",
            expected=f"a whole number from 0 to {MAX_SEED}",
            fix=f"for example --seed_everything {SEED}",
        )
    return seed_everything


class _StandardError(logging.Handler):
    """Prints messages to what `sys.stderr` is when they come, also where `main` is called again."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one message."""
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


def _is_said(record: logging.LogRecord) -> bool:
    return not any(remark in record.getMessage() for remark in _NOT_SAID)


def _set_up_messages() -> None:
    for remark in REMARKS:
        warnings.filterwarnings("ignore", message=remark)
    for name in ("utilities.rank_zero", "trainer.connectors.checkpoint_connector"):
        logging.getLogger(f"pytorch_lightning.{name}").addFilter(_is_said)
    for name in ("pytorch_lightning", "lightning_fabric"):  # what they hold is no longer `stderr`
        lightning = logging.getLogger(name)
        lightning.handlers = [_StandardError() for _ in lightning.handlers[:1]]
    for name in ("slifmr_pl", "feature_extraction"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO if is_first_process() else logging.WARNING)
        if not logger.handlers:
            handler = _StandardError()
            handler.setFormatter(logging.Formatter("%(message)s"))
            logger.addHandler(handler)
            logger.propagate = False
