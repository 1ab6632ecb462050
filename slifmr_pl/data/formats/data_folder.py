"""Read a data folder in the format that is named, or in the one that its files show."""

import difflib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from slifmr_pl.config.parts import class_path
from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.formats import BUILT_IN
from slifmr_pl.data.formats.layout import SUFFIXES
from slifmr_pl.data.reader import Reader, contents_of
from slifmr_pl.errors import DataError

FormatName = Literal[
    "auto", "layout", "recbole", "mmrec", "kgat", "movielens", "hetrec", "amazon", "table"
]


def read(root: Path, format: FormatName | Reader = "auto") -> RawData:
    """Read a data folder.

    Features in an MMRec folder are not read; ``import`` makes feature stores of them.

    Args:
        root: The folder; also a file, if the reader takes files.
        format: A reader; the name of a built-in one (``slifmr_pl.data.formats.BUILT_IN``), which
            is then used with its defaults; or ``auto``, which asks the built-in readers and those
            of plug-ins which of them recognises the folder.

    Raises:
        DataError: The folder is missing, holds no format or several, or holds bad values.
        TableError: A file cannot be read or lacks a column.
    """
    root = Path(root)
    if not isinstance(format, Reader):
        _require_there(root, BUILT_IN[format].reads_files if format != "auto" else False)
        format = recognised_reader(root) if format == "auto" else BUILT_IN[format]()
    _require_there(root, format.reads_files)
    return format.read(root)


def recognised_reader(root: Path) -> Reader:
    """The one reader that recognises a folder.

    Raises:
        DataError: None does, or several do.
    """
    readers = {name: reader() for name, reader in BUILT_IN.items()}
    readers |= {class_path(kind): kind() for kind in _plugin_readers()}
    names = [name for name, reader in readers.items() if reader.recognises(root)]
    if len(names) == 1:
        return readers[names[0]]
    raise DataError(
        f"interactions in the formats {' and '.join(names)}"
        if names
        else f"no interactions; {contents_of(root)}",
        expected=f"either interactions{{{','.join(SUFFIXES)}}}, one NAME.inter, or train.txt "
        "and test.txt",
        fix=f"set the format to {' or '.join(names)}"
        if names
        else "check the folder; `slifmr import --help` lists other formats",
        path=root,
    )


def _plugin_readers() -> Iterator[type[Reader]]:
    """Readers beside the built-in ones that have been imported and need no argument."""
    kinds = [Reader]
    for kind in kinds:  # grows meanwhile
        kinds += [child for child in kind.__subclasses__() if child not in kinds]
    for kind in kinds:
        if kind in BUILT_IN.values() or inspect.isabstract(kind):
            continue
        parameters = inspect.signature(kind).parameters.values()
        if all(
            p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
            for p in parameters
        ):
            yield kind


def _require_there(root: Path, reads_files: bool) -> None:
    if root.is_dir() or (root.exists() and reads_files):
        return
    parent = next(path for path in (root.parent, *root.parents) if path.is_dir())
    names = sorted(path.name for path in parent.iterdir() if path.is_dir())
    close = difflib.get_close_matches(root.name, names, n=1)
    raise DataError(
        "this is a file" if root.exists() else "the data folder does not exist",
        expected=f"one of the folders in {parent}: {', '.join(names[:20]) or '(there is none)'}",
        fix=f"did you mean {close[0]!r}?" if close else "check the path",
        path=root,
    )
