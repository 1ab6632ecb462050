"""`import`: data in a foreign format to a data folder."""

import argparse
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slifmr_pl.data.reader import Reader

HELP = "turn data of another format into a data folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the format; what follows it is understood once the format's reader is known."""
    parser.usage = "%(prog)s FORMAT SOURCE OUT [--OPTION VALUE]..."
    parser.add_argument(
        "format", metavar="FORMAT", help="name, or the class of a reader of your own"
    )
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    plain = parser.format_help
    # The list takes a second to import, which only a reader of this page has to wait for.
    parser.format_help = lambda: plain() + _formats()  # type: ignore[method-assign]


def run(options: argparse.Namespace) -> int:
    """Writes the folder, and says what was found and how to train on it."""
    from slifmr_pl.data.formats.importing import import_data

    reader, source, out = _parsed(options.format, options.rest)
    imported = import_data(reader, source, out)
    print(f"{source} is now the data folder {out}")
    print(f"{imported}\n\nTrain on it:\n  slifmr fit --data.root {out}", end="")
    if imported.parts:
        print(" --data.split.strategy given", end="")
    if imported.features:
        stores = (f"{name}: {{store: features/{name}}}" for name in imported.features)
        print(f" --data.modalities '{{{', '.join(stores)}}}'", end="")
    print()
    return 0


def _parsed(format: str, arguments: list[str]) -> tuple["Reader", Path, Path]:
    """The reader with its options, the source, and the folder to write."""
    from jsonargparse import ArgumentParser

    kind = _reader_class(format)
    parser = ArgumentParser(prog=f"slifmr import {format}", description=_description(kind))
    what = "folder of the data set, or its file" if kind.reads_files else "folder of the data set"
    parser.add_argument("source", type=Path, metavar="SOURCE", help=what)
    parser.add_argument("out", type=Path, metavar="OUT", help="data folder to write")
    parser.add_class_arguments(kind, as_group=False)
    # `--user-column` is `--user_column`.
    flags = [re.sub(r"^--[^=]+", _with_underscores, argument) for argument in arguments]
    switches = {
        f"--{name}"
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.annotation in (bool, "bool")
    }
    flags = [  # `--no-header` alone is `--no_header=true`
        f"{flag}=true" if flag in switches and after not in ("true", "false") else flag
        for flag, after in zip(flags, [*flags[1:], ""], strict=True)
    ]
    given = parser.parse_args(flags)
    source, out = given.pop("source"), given.pop("out")
    return kind(**parser.instantiate(given).as_dict()), source, out


def _with_underscores(flag: re.Match[str]) -> str:
    return f"--{flag[0][2:].replace('-', '_')}"


def _reader_class(format: str) -> type["Reader"]:
    from slifmr_pl.config import plugins
    from slifmr_pl.data.formats import BUILT_IN
    from slifmr_pl.data.reader import Reader

    if format in BUILT_IN:
        return BUILT_IN[format]
    plugins.load_from_here(plugins.package_of(format))  # the user names it here
    return plugins.find_class(format, Reader, "the format", BUILT_IN)  # type: ignore[type-abstract]


def _description(kind: type["Reader"]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n\nArgs:")[0]


def _formats() -> str:
    from slifmr_pl.data.formats import BUILT_IN

    lines = "".join(
        f"  {name:11} {_description(kind).splitlines()[0]}\n" for name, kind in BUILT_IN.items()
    )
    return f"""
formats:
{lines}
A reader of your own is named as package.module.Class. `import FORMAT --help` lists the options of a
format; what each is and becomes: docs/formats.md.
"""
