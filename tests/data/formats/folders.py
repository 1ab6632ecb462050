"""Folders of files for the tests of formats."""

import gzip
from pathlib import Path
from typing import Any

from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.formats import BUILT_IN
from slifmr_pl.data.formats.importing import Imported, import_data
from slifmr_pl.data.formats.layout import LayoutReader


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    """Files with these contents; those that end in .gz are compressed."""
    root.mkdir(exist_ok=True)
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (root / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return root


def imported(
    root: Path, format: str, files: dict[str, str | bytes], file: str = "", **options: Any
) -> tuple[RawData, Imported]:
    """What an import of these files wrote."""
    source = write(root / "source", files) / file
    report = import_data(BUILT_IN[format](**options), source, root / "out")
    return LayoutReader().read(root / "out"), report
