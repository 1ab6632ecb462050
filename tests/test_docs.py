"""The site builds without a warning, and speaks of what exists."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from slifmr_pl.cli.described_settings import described_settings
from slifmr_pl.cli.lightning import fit_settings

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
SOURCES = "\n".join(
    file.read_text("utf-8")
    for package in ("slifmr_pl", "feature_extraction")
    for file in sorted((ROOT / package).rglob("*.py"))
)
QUOTED = re.findall(r"^### `(.+)`$", (ROOT / "docs" / "faq.md").read_text("utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return folder


def test_site_has_every_page(site: Path) -> None:
    for page in PAGES:
        name = page.relative_to(ROOT / "docs").with_suffix("")
        built = site / (name.parent if name.name == "index" else name) / "index.html"
        assert built.is_file(), page
    reference = (site / "reference" / "model" / "index.html").read_text("utf-8")
    assert "slifmr_pl.models.base.RecommenderModule.load_from_checkpoint" in reference


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("nav:")[2]
    listed = set(re.findall(r": ([\w/-]+\.md)$", navigation, re.MULTILINE))
    assert listed == {page.relative_to(ROOT / "docs").as_posix() for page in PAGES}


def test_reference_explains_every_setting(site: Path) -> None:
    page = (site / "reference" / "configuration" / "index.html").read_text("utf-8")
    parser, _ = fit_settings([])
    for key in described_settings(parser):
        assert f"<code>{key}</code>" in page


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("architecture", "architecture/"),
        ("add a model", "architecture/"),
        ("deploy", "./"),
        ("tune", "tune/"),
        ("scale", "scale/"),
        ("early_stopping.patience", "reference/configuration/"),
        ("RecommenderModule", "reference/models/"),
    ],
)
def test_search_finds(site: Path, words: str, page: str) -> None:
    entries = json.loads((site / "search" / "search_index.json").read_text("utf-8"))["docs"]
    found = {
        entry["location"].partition("#")[0] or "./"
        for entry in entries
        if words.lower() in f"{entry['title']} {re.sub('<[^>]+>', '', entry['text'])}".lower()
    }
    assert page in found


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
