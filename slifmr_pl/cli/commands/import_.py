"""`import`: data in a foreign format to a data folder."""

import argparse
from pathlib import Path

from slifmr_pl.data.formats import FORMATS

HELP = "turn data of another format into a data folder"

_NAMED = ("recbole", "mmrec")
_OURS = (
    *("user_id", "item_id", "rating", "timestamp", "split"),
    *("head_id", "relation_id", "tail_id", "entity_id"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds a command for each format."""
    parser.epilog = "What each format is and becomes: docs/formats.md."
    formats = parser.add_subparsers(title="formats", dest="format", required=True, metavar="FORMAT")
    for name, text in FORMATS.items():
        command = formats.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        what = "file of interactions" if name == "table" else "folder of the data set"
        if name == "amazon":
            what = "file of reviews, or a folder with reviews and metadata of one category"
        command.add_argument("source", type=Path, metavar="SOURCE", help=what)
        command.add_argument("out", type=Path, metavar="OUT", help="data folder to write")
        if name in _NAMED:
            command.add_argument("--name", help="of the data set, if the folder holds several")
        if name == "table":
            _add_table_arguments(command)


def run(options: argparse.Namespace) -> int:
    """Writes the folder, and says what was found and how to train on it."""
    from slifmr_pl.data.formats.importing import Imported, import_data

    given = {"name": options.name} if options.format in _NAMED else {}
    if options.format == "table":
        given = {name: getattr(options, name) for name in ("items", "kg", "links")}
        given["columns"] = {
            name: column for name in _OURS if (column := getattr(options, name)) is not None
        }
    imported: Imported = import_data(options.format, options.source, options.out, **given)
    print(f"{options.source} is now the data folder {options.out}")
    print(f"{imported}\n\nTrain on it:\n  python lightning_cli.py fit", end="")
    print(f" --data.root {options.out}{' --data.split.strategy given' if imported.parts else ''}")
    return 0


def _add_table_arguments(parser: argparse.ArgumentParser) -> None:
    for kind, text in (
        ("items", "file with a row for each item"),
        ("kg", "file of the knowledge graph's facts"),
        ("links", "file that says which entity an item is"),
    ):
        parser.add_argument(f"--{kind}", type=Path, metavar="FILE", help=text)
    columns = parser.add_argument_group("columns", "what the files call them, if not as we do")
    for name in _OURS:
        flag = f"--{name.removesuffix('_id')}-column"
        columns.add_argument(flag, dest=name, metavar="NAME", help=f"default: {name}")
