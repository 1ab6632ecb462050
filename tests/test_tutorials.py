"""Every command of a tutorial is run as it stands, and prints what the page says.

In a page, a block with a title is a file, `bash` and `python` blocks run in their order in one
folder, and a `text` block is what the one before prints: an ellipsis stands for anything.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [*sorted((DOCS / "tutorials").glob("*.md")), DOCS / "extending.md"]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str | None
    text: str


def blocks(page: Path) -> Iterator[Block]:
    for match in BLOCK.finditer(page.read_text("utf-8")):
        yield Block(match[1], match[2] or None, match[3])


def run(block: Block, folder: Path) -> str:
    """What a block prints; fails where it fails."""
    command = {
        "bash": ["bash", "-euo", "pipefail", "-c", block.text],
        "python": [sys.executable, "-c", block.text],
    }[block.language]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(DOCS.parent),
        "COLUMNS": "200",
    }
    result = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{block.text}\n{result.stdout}"
    return result.stdout


def says(printed: str, expected: str) -> bool:
    """Whether the expected text is there, whatever stands for its ellipses."""
    parts = [re.escape(part.strip()) for part in expected.split("…")]
    return re.search(r"(?s:.*)".join(part for part in parts if part), printed) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIFMR_CACHE", str(tmp_path / "cache"))
    printed = None
    for block in blocks(page):
        if block.title is not None:
            (tmp_path / block.title).write_text(block.text, "utf-8")
        elif block.language == "text":
            assert printed is not None, f"nothing was run before {block.text}"
            assert says(printed, block.text), f"expected\n{block.text}\nin\n{printed}"
        else:
            printed = run(block, tmp_path)


def test_another_output_would_be_seen() -> None:
    assert says("one\ntwo\nthree\n", "one\n…\nthree\n")
    assert not says("one\ntwo\nthree\n", "three\n…\none\n")
    assert not says("one\ntwo\nthree\n", "one\nthree\n")
