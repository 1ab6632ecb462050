"""Writes the settings into `reference/configuration.md` when the site is built."""

from collections import defaultdict
from typing import Any

from slifmr_pl.cli.described_settings import (
    DescribedSetting,
    described_settings,
    section_titles,
)
from slifmr_pl.cli.lightning import fit_settings

PLACE = "<!-- settings -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return markdown.replace(PLACE, settings_page()) if PLACE in markdown else markdown


def settings_page() -> str:
    """A table of settings for each section."""
    parser, _ = fit_settings([])
    titles = section_titles(parser)
    sections: dict[str, list[DescribedSetting]] = defaultdict(list)
    for key, setting in described_settings(parser).items():
        sections[key.rpartition(".")[0]].append(setting)
    own = sorted(sections, key=lambda section: (section.partition(".")[0] == "trainer", section))
    blocks = []
    for section in own:
        blocks += [f"## {section}" if section else "## The run", ""]
        blocks += [f"{titles[section]}.", ""] if section in titles else []
        blocks += ["| setting | default | values | |", "|---|---|---|---|"]
        blocks += [_row(setting) for setting in sections[section]] + [""]
    return "\n".join(blocks)


def _row(setting: DescribedSetting) -> str:
    cells = (
        f"`{setting.key}`",
        "required" if setting.required else f"`{setting.default_text}`",
        setting.type,
        setting.text,
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
