"""What a command line chooses before it is parsed: configurations, plug-ins, model and data module.

The settings that `fit` knows are those of the chosen classes. So the classes are looked up first,
in flags and files alike, and the parser is made for them: `--help`, errors and `--print_config` are
about the very model that is trained.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning.utilities import rank_zero_info

from slifmr_pl import models
from slifmr_pl.checkpoints.format import read_checkpoint
from slifmr_pl.checkpoints.settings import model_class
from slifmr_pl.config import plugins
from slifmr_pl.config.files import (
    SECTIONS,
    inline_configuration,
    merged_configuration,
    named_plugins,
    plugin_names,
)
from slifmr_pl.config.parts import class_path
from slifmr_pl.config.presets import configuration
from slifmr_pl.config.sections import class_and_settings, section_of
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.errors import ConfigError
from slifmr_pl.models.base import RecommenderModule
from slifmr_pl.module import SlifMrModule
from slifmr_pl.recommendation_datamodule import RecommendationDataModule
from slifmr_pl.runs.run_folders import CONFIG_FILE, run_folder

DEFAULTS: dict[str, type] = {"model": SlifMrModule, "data": SlifMrDataModule}
_KINDS: dict[str, type] = {"model": RecommenderModule, "data": RecommendationDataModule}


@dataclass
class Choice:
    """What is settled before the rest is parsed.

    Attributes:
        args: The command line without what is settled; `--model.init_args.x` has become
            `--model.x`.
        classes: The class of `model` and of `data`.
        passed_over: Classes that are not chosen, though settings in a file may belong to them: the
            default class, and those that an earlier file named.
        checkpoints: What `--ckpt_path` names, where it had to be read for the model's class.
    """

    args: list[str]
    classes: dict[str, type]
    passed_over: dict[str, list[type]]
    checkpoints: dict[str, dict[str, Any]]

    @property
    def named(self) -> dict[str, str]:
        """What a configuration has to name: classes that are not the default of their section."""
        return {
            section: class_path(cls)
            for section, cls in self.classes.items()
            if cls is not DEFAULTS[section]
        }


def choose(args: list[str], defaults: Mapping[str, type]) -> Choice:
    """Reads flags and files for what they choose, and imports plug-ins.

    Args:
        args: A subcommand and what follows it.
        defaults: The classes of model and data module where nothing else is said.

    Raises:
        ConfigError: A file, plug-in or class is missing, or a setting is of an older version.
    """
    given = _read(args)
    own = None if given.has_config else _configuration_of_run(args[:1], given.rest)
    if own is not None:
        rank_zero_info(f"Settings are those of the run, {own}, but for what flags say.")
        given = _read([*args[:1], f"--config={own}", *args[1:]])
    plugins.load_from_here(given.packages)
    plugins.load_installed()
    choice = Choice(given.rest, {}, {}, {})
    if given.packages:
        helps = [n for n, arg in enumerate(choice.args) if arg.partition("=")[0].endswith(".help")]
        place = helps[0] if helps else len(choice.args)  # behind `--x.help`, nothing is understood
        choice.args.insert(place, f"--plugins={json.dumps(given.packages)}")
    for section in SECTIONS:
        names = given.in_files[section] + given.in_flags[section]  # flags win
        classes = [defaults[section], *(find_class(name, section) for name in names)]
        path = _checkpoint_in(given.rest)
        if section == "model" and path and not names and not given.has_model:
            choice.checkpoints[path] = read_checkpoint(path)
            classes.append(model_class(choice.checkpoints[path], RecommenderModule, path))
        choice.classes[section] = chosen = classes[-1]
        others = dict.fromkeys([DEFAULTS[section], *classes])
        choice.passed_over[section] = [cls for cls in others if cls is not chosen]
    return choice


@dataclass
class _Given:
    """What flags and files say: plug-ins, names of classes by section, and the rest."""

    rest: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    has_config: bool = False  # whether a configuration is named
    has_model: bool = False  # whether a file has settings of the model
    in_files: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in SECTIONS})
    in_flags: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in SECTIONS})

    def add(self, content: Mapping[str, Any], file: Path | None) -> None:
        """Notes what a configuration names; it stands in a file, or in the command line itself."""
        _refuse_baseline(content, file)
        self.packages += named_plugins(content)
        self.has_model |= bool(content.get("model"))
        for section in SECTIONS:
            name, _ = class_and_settings(content.get(section), section)
            self.in_files[section] += [] if name is None else [name]


def _read(args: list[str]) -> _Given:
    given = _Given()
    for flag, value in _flags(args):
        section = flag.removeprefix("--").removesuffix(".class_path")
        given.has_config |= flag in ("--config", "-c")
        if value is not None and flag in ("--config", "-c"):
            inline = inline_configuration(value)
            file = None if inline is not None else configuration(value)
            given.add(merged_configuration([file]) if file else inline or {}, file)
            given.rest += [flag, str(file or value)]
        elif value is not None and flag.removesuffix("+") == "--plugins":
            given.packages += plugin_names(value)
        elif value is not None and section in SECTIONS and _is_class_name(value):
            given.in_flags[section].append(value)
        else:
            _refuse_baseline_flag(flag)
            short = re.sub(r"^--(model|data)\.init_args\.", r"--\1.", flag)
            given.rest += [short] if value is None else [f"{short}={value}"]
    for names in given.in_flags.values():
        given.packages += [package for name in names for package in plugins.package_of(name)]
    given.packages = list(dict.fromkeys(given.packages))
    return given


def find_class(name: str, section: str) -> type:
    """The class of a section, by its path, or by its name alone where it is imported.

    Raises:
        ConfigError: If there is none.
    """
    built_in = models.__all__ if section == "model" else []
    if name in built_in:
        getattr(models, name)  # imports it
    return plugins.find_class(name, _KINDS[section], section, built_in)


def _checkpoint_in(args: list[str]) -> str | None:
    """The file that `--ckpt_path` names; None without one, and of `last`."""
    paths = [arg.partition("=")[2] for arg in args if arg.startswith("--ckpt_path=")]
    return paths[-1] if paths and Path(paths[-1]).is_file() else None


def _configuration_of_run(subcommand: list[str], args: list[str]) -> Path | None:
    """What the run of a checkpoint was configured with; None where it is not beside it.

    A run that goes on is a new one, and says itself what it is configured with.
    """
    path = _checkpoint_in(args)
    if path is None or subcommand == ["fit"]:
        return None
    file = run_folder(Path(path)) / CONFIG_FILE
    return file if file.is_file() else None


def _flags(args: list[str]) -> Iterator[tuple[str, str | None]]:
    """Flags with their values, however they are written; other words come without a value."""
    rest = iter(range(len(args)))
    for place in rest:
        flag, equals, value = args[place].partition("=")
        if not flag.startswith("-"):
            yield args[place], None
        elif equals:
            yield flag, value
        elif place + 1 < len(args) and not args[place + 1].startswith("--"):
            next(rest)
            yield flag, args[place + 1]
        else:
            yield flag, None


def _is_class_name(value: str) -> bool:
    return all(part.isidentifier() for part in value.split(".")) and not Path(value).is_file()


def _refuse_baseline(content: Mapping[str, Any], file: Path | None) -> None:
    """Refuses `baseline`, a key of an older version, unless it says that there is none."""
    if content.get("baseline") is not None:
        name, settings = class_and_settings(content["baseline"], "baseline")
        new_name = f"slifmr_pl.models.{(name or 'Ease').rpartition('.')[2]}"
        section = section_of(new_name, settings)
        text = yaml.safe_dump(section, default_flow_style=True, sort_keys=False, width=1000)
        raise ConfigError(
            "the key baseline is of an older version",
            expected="the model's class below model",
            fix=f"write model: {text.strip()}",
            path=file,
        )


def _refuse_baseline_flag(flag: str) -> None:
    if flag.partition(".")[0] == "--baseline":
        setting = flag.removeprefix("--baseline").removeprefix(".init_args")
        raise ConfigError(
            f"{flag} is of an older version",
            expected="the model's class as --model, and its settings below it",
            fix=f"write --model{setting}" if setting else "for example --model Ease",
        )
