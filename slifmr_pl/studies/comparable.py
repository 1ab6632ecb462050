"""Which runs may be compared, and which belong together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slifmr_pl.config.conversion import flat
from slifmr_pl.config.files import SECTIONS
from slifmr_pl.config.sections import class_and_settings
from slifmr_pl.errors import RunError
from slifmr_pl.runs.reading import Evaluation

# Settings that runs of one configuration may differ in: seeds, places and what is drawn.
_OF_A_RUN = (
    "seed_everything",
    "name",
    "ckpt_path",
    "data.seed",
    "data.root",
    "data.cache_dir",
    "data.extraction",
    "trainer.default_root_dir",
    "trainer.logger",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "model.metrics",
    "recommendations",
    "per_user",
)


_DEFAULTS = {"model": "SlifMrModule", "data": "SlifMrDataModule"}  # where a run names no class


@dataclass(frozen=True)
class Group:
    """Runs of one configuration.

    Attributes:
        name: As shown.
        runs: At least one evaluation.
    """

    name: str
    runs: tuple[Evaluation, ...]


def require_same_evaluation(runs: Sequence[Evaluation]) -> None:
    """Refuses runs whose numbers do not answer the same question.

    Raises:
        RunError: The users, items, parts of the data, masks, or users who count differ.
    """
    first = runs[0]
    for other in runs[1:]:
        pair = f"{first.folder} and {other.folder}"
        parts, others = first.data["parts"], other.data["parts"]
        differing = [name for name in parts if parts[name] != others.get(name)]
        if differing:
            raise RunError(
                f"{pair} have different data: {', '.join(differing)}"
                f"{_differing_filters(first, other)}",
                expected="the same users, items, and training, validation and test interactions",
                fix="train both with the same data.filters and data.split on the same files",
            )
        if first.masks != other.masks:
            raise RunError(
                f"{pair} mask different items: {first.masks}, and {other.masks}",
                expected="one protocol",
                fix=f"test the second again with --data.test_masks {first.masks}",
            )
        if not first.users.equals(other.users):
            raise RunError(
                f"{pair} were evaluated for different users: {len(first.users)}, and "
                f"{len(other.users)}",
                expected="the same users",
                fix="test both again, without trainer.limit_test_batches",
            )


def _differing_filters(first: Evaluation, other: Evaluation) -> str:
    one, two = (
        flat({key: run.data[key] for key in ("filters", "split")}) for run in (first, other)
    )
    changes = [f"{key} {one[key]} and {two.get(key)}" for key in one if one[key] != two.get(key)]
    return f" ({'; '.join(changes)})" if changes else ""


def require_groups(groups: Sequence[Group]) -> None:
    """Refuses fewer than two groups, or groups of one name.

    Raises:
        RunError: If so.
    """
    names = [group.name for group in groups]
    if len(names) < 2 or len(set(names)) < len(names):
        raise RunError(
            f"the groups {', '.join(names)}" if names else "no runs",
            expected="two or more groups of different names",
            fix="name two run folders, or --group A=RUN,RUN --group B=RUN,RUN",
        )


def require_one_configuration(group: Group) -> None:
    """Refuses a group whose runs differ in more than their seed, or do not differ in it.

    Raises:
        RunError: If so.
    """
    first = group.runs[0]
    if len(group.runs) == 1:
        return
    for run in group.runs:
        if run.settings is None:
            raise RunError(
                "the run has no config.yaml",
                expected="the configuration of each run of a group",
                fix="compare it as a group of its own",
                path=run.folder,
            )
        changed = _changed(first, run)
        if changed:
            key, one, two = changed[0]
            raise RunError(
                f"group {group.name}: {first.folder} and {run.folder} differ in "
                f"{len(changed)} settings, first {key}: {one!r} and {two!r}",
                expected="runs of one configuration, with different seeds",
                fix="put them into groups of their own",
            )
    seeds = [run.seed for run in group.runs]
    if len(set(seeds)) < len(seeds):
        raise RunError(
            f"group {group.name} has the seeds {', '.join(map(str, seeds))}",
            expected="different seeds: the same run twice says nothing about the spread",
            fix="train again with another --seed_everything, or leave the repeated run out",
        )


def model_name(settings: Mapping[str, Any] | None) -> str:
    """The class of the model that a run's settings name, without its package."""
    return _class_and_settings(settings or {}, "model")[0]


def _class_and_settings(settings: Mapping[str, Any], section: str) -> tuple[str, dict[str, Any]]:
    """What a run says of its model or of its data: the class, without its package, and settings."""
    said = settings.get(section)
    if section == "model":
        said = settings.get("baseline") or said  # of runs before models were chosen by `model`
    name, values = class_and_settings(said, section)
    return (name or _DEFAULTS[section]).rpartition(".")[2], values


def _flat_settings(run: Evaluation) -> dict[str, Any]:
    """Settings by dotted key: `model` and `data` are classes, `model.NAME` an argument of one."""
    settings = run.settings or {}
    sections = {section: _class_and_settings(settings, section) for section in SECTIONS}
    rest = {key: value for key, value in settings.items() if key not in (*SECTIONS, "baseline")}
    result: dict[str, Any] = {section: name for section, (name, _) in sections.items()}
    for section, (_, values) in sections.items():
        result |= flat(values, f"{section}.")
    return result | flat(rest)


def _changed(first: Evaluation, other: Evaluation) -> list[tuple[str, Any, Any]]:
    one, two = (_flat_settings(run) for run in (first, other))
    if one["model"] != two["model"]:  # what only one of them has says nothing of the other
        one, two = (
            {key: value for key, value in a.items() if key in b or not key.startswith("model.")}
            for a, b in ((one, two), (two, one))
        )
    keys = dict.fromkeys([*one, *two])
    return [
        (key, one.get(key), two.get(key))
        for key in keys
        if one.get(key) != two.get(key)
        and not any(key == prefix or key.startswith(f"{prefix}.") for prefix in _OF_A_RUN)
    ]


def differing_settings(groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """Settings in which the first runs of the groups differ, by key and group.

    The models come first, where they differ; settings that a model does not have are left out.
    """
    firsts = [group.runs[0] for group in groups]
    if any(run.settings is None for run in firsts):
        return {}
    settings = {group.name: _flat_settings(group.runs[0]) for group in groups}
    several = len({values["model"] for values in settings.values()}) > 1
    keys = dict.fromkeys(key for run in firsts[1:] for key, _, _ in _changed(firsts[0], run))
    return {
        key: {name: values.get(key) for name, values in settings.items()}
        for key in keys
        if not (several and key.startswith("model."))
        or all(key in values for values in settings.values())
    }
