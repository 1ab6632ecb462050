"""The file of a study: what all runs have in common, and each model with what is searched."""

from pathlib import Path
from typing import Any

from slifmr_pl.config.bounds import is_metric_name, require, require_counts, require_seed
from slifmr_pl.config.files import unreadable, yaml_file
from slifmr_pl.config.presets import configuration
from slifmr_pl.errors import ConfigError
from slifmr_pl.studies.space import search_space
from slifmr_pl.studies.tuned_study import Contestant, TunedStudy

_OF_A_STUDY = ("configs", "settings", "metric", "trials", "seeds", "metrics", "models", "plugins")
_OF_A_MODEL = ("configs", "settings", "space")
_EXAMPLE = "EASE: {configs: [model/ease], space: {model.l2: {low: 10.0, high: 1000.0}}}"


def read_study(path: Path) -> TunedStudy:
    """Reads a study's file.

    Raises:
        ConfigError: It cannot be read, has an unknown key, or a value that cannot be.
    """
    try:
        content = yaml_file(path)
    except (OSError, ValueError) as error:
        raise unreadable(error, path, "the study", "a YAML file with `models`") from error
    _require_keys(content, _OF_A_STUDY, "the study", path)
    models = content.pop("models", None)
    if not isinstance(models, dict) or len(models) < 2:
        raise ConfigError(
            f"the study has {len(models) if isinstance(models, dict) else 'no'} models",
            expected="two or more: the others are compared with the first",
            fix=f"add lines below `models` such as {_EXAMPLE}",
            path=path,
        )
    content.pop("plugins", None)  # imported before
    given: dict[str, Any] = dict(content)
    try:
        for name in ("seeds", "metrics"):
            if given.get(name) is not None:
                holds = isinstance(given[name], list)
                require("study", (name, given[name], holds, "a list"))
                given[name] = tuple(given[name])
        study = TunedStudy(
            tuple(_contestant(str(name), entry, path) for name, entry in models.items()),
            configs=_configs(given.pop("configs", [])),
            settings=_settings(given.pop("settings", None)),
            **given,
        )
        _check(study)
    except ConfigError as error:
        error.path = error.path or path
        raise
    return study


def _contestant(name: str, entry: Any, path: Path) -> Contestant:
    _require_keys(entry, _OF_A_MODEL, f"model {name}", path)
    if "/" in name or name in ("", ".", ".."):
        raise ConfigError(f"a model called {name!r}", expected="a name for a folder", fix="rename")
    space = entry.get("space")
    return Contestant(
        name,
        _configs(entry.get("configs", [])),
        _settings(entry.get("settings")),
        {} if space is None else search_space(space, path),
    )


def _settings(given: Any) -> dict[str, Any]:
    holds = given is None or isinstance(given, dict)
    require("study", ("settings", given, holds, "settings by dotted key"))
    return dict(given or {})


def _configs(given: Any) -> tuple[Path, ...]:
    names = [given] if isinstance(given, str) else given
    holds = isinstance(names, list) and all(isinstance(name, str) for name in names)
    require("study", ("configs", given, holds, "names of presets or of files"))
    return tuple(map(configuration, names))


def _require_keys(entry: Any, known: tuple[str, ...], what: str, path: Path) -> None:
    if not isinstance(entry, dict) or not entry.keys() <= set(known):
        found = f"has {', '.join(map(str, entry))}" if isinstance(entry, dict) else "is no mapping"
        raise ConfigError(
            f"{what} {found}",
            expected=f"some of {', '.join(known)}",
            fix="docs/results.md has an example",
            path=path,
        )


def _check(study: TunedStudy) -> None:
    require_counts("study", 1, trials=study.trials)
    seeds, metrics = study.seeds, study.metrics
    for seed in seeds or ():
        require_seed("study", seed)
    distinct = seeds is not None and 0 < len(seeds) == len(set(seeds))
    named = metrics is None or all(map(is_metric_name, metrics))
    of_validation = str(study.metric).startswith("val/") and is_metric_name(study.metric[4:])
    require(
        "study",
        ("seeds", study.seeds, distinct, "one or more distinct seeds"),
        ("metrics", study.metrics, named, "METRIC@K, such as recall@20"),
        ("metric", study.metric, of_validation, "a validation metric such as val/recall@20"),
    )
