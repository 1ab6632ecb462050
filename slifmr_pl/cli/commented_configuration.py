"""Settings as a file in which each is explained."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from slifmr_pl.cli.described_settings import (
    DescribedSetting,
    described_settings,
    has_choices,
    section_titles,
)

_FIRST = ("name", "plugins", "seed_everything", "data", "model", "trainer")
_WIDTH = 100


def commented_configuration(parser: ArgumentParser, values: Mapping[str, Any]) -> str:
    """A configuration as `--config` takes it, with what the docstrings say of each setting.

    What has to be given and is not is a comment.

    Args:
        parser: Of the subcommand whose settings they are.
        values: The settings as plain types, nested.
    """
    first = {key: values[key] for key in _FIRST if key in values}
    parts = {key: values[key] for key in values if isinstance(values[key], Mapping)}
    rest = {key: values[key] for key in values if key not in first | parts}
    described, titles = described_settings(parser), section_titles(parser)
    lines = [
        *_lines(first | parts, "", described, titles),
        "",
        *_lines(rest, "", described, titles),
    ]
    return "\n".join(lines) + "\n"


def _lines(
    values: Mapping[str, Any],
    section: str,
    settings: Mapping[str, DescribedSetting],
    titles: Mapping[str, str],
) -> Iterator[str]:
    """Lines of one section, not indented: its own settings, then the sections inside."""
    inside = {}
    for key, value in values.items():
        # A section that names its class has its settings one level deeper, and not their keys.
        full = section if key == "init_args" else f"{section}.{key}".lstrip(".")
        if isinstance(value, Mapping) and any(name.startswith(f"{full}.") for name in settings):
            inside[key] = full
        else:
            yield from _setting(key, value, settings.get(full))
    for key, full in inside.items():
        if key != "init_args":
            yield from ["", *_comment(titles.get(full, ""))]
        yield f"{key}:"
        for line in _lines(values[key], full, settings, titles):
            yield f"  {line}".rstrip()


def _setting(key: str, value: Any, described: DescribedSetting | None) -> Iterator[str]:
    if described is not None:
        choices = f" ({described.type})" if has_choices(described.hint) else ""
        yield from _comment(described.text + choices)
    if described is not None and described.required and value is None:
        yield f"# {key}: …  # has to be given, here or as --{described.key}"
        return
    text: str = yaml.safe_dump(
        {key: value},
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None if isinstance(value, list | Mapping) else False,
        width=1000,  # lists of plain values are one line
    )
    yield from text.splitlines()


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH - 8, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )
