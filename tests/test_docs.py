"""The site builds without a warning, and speaks of what exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
SOURCES = "\n".join(
    file.read_text("utf-8")
    for package in ("slifmr_pl", "feature_extraction")
    for file in sorted((ROOT / package).rglob("*.py"))
)
QUOTED = re.findall(r"^### `(.+)`$", (ROOT / "docs" / "faq.md").read_text("utf-8"), re.MULTILINE)


def test_site_builds_with_every_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for page in PAGES:
        name = page.relative_to(ROOT / "docs").with_suffix("")
        built = tmp_path / (name.parent if name.name == "index" else name) / "index.html"
        assert built.is_file(), page
    reference = (tmp_path / "reference" / "model" / "index.html").read_text("utf-8")
    assert "slifmr_pl.models.base.RecommenderModule.load_from_checkpoint" in reference


@pytest.mark.parametrize("message", QUOTED)
def test_quoted_error_is_raised_somewhere(message: str) -> None:
    assert message.strip() in SOURCES


@pytest.mark.parametrize("file", [*PAGES, ROOT / "README.md"], ids=lambda file: file.name)
def test_named_files_exist(file: Path) -> None:
    text = file.read_text("utf-8")
    named = re.findall(r"\b(?:configs|docs|examples|tests)/[\w./-]+\.(?:yaml|md|py|svg)", text)
    linked = re.findall(r"\]\((?!http|#)([^)#]+)", text)
    assert not [name for name in named if not (ROOT / name).exists()]
    assert not [name for name in linked if not (file.parent / name).exists()]


@pytest.mark.parametrize("file", [*PAGES, ROOT / "README.md"], ids=lambda file: file.name)
def test_yaml_blocks_are_yaml(file: Path) -> None:
    for block in re.findall(r"^```yaml.*?\n(.*?)^```$", file.read_text("utf-8"), re.M | re.S):
        assert isinstance(yaml.safe_load(block), dict)
