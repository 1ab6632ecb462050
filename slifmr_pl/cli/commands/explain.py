"""`explain`: what carries the score of a user and an item."""

import argparse
from pathlib import Path

from slifmr_pl.cli.commands.arguments import at_least

HELP = "tell which items, facts and edges carry the score of a user and an item"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds checkpoint, user and item."""
    parser.epilog = "The shares of either side add up to the score: docs/serving.md."
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="a file that `fit` wrote")
    parser.add_argument("--user", required=True, metavar="ID", help="raw id")
    parser.add_argument("--item", required=True, metavar="ID", help="raw id")
    parser.add_argument(
        "--top",
        type=at_least(0),
        default=3,
        metavar="N",
        help="parts shown of each kind; default: %(default)s",
    )
    parser.add_argument(
        "--titles",
        nargs=2,
        metavar=("FILE", "COLUMN"),
        help="a table with item_id and a column that tells people what an item is",
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all parts there, too")


def run(options: argparse.Namespace) -> int:
    """Prints the explanation, and writes it on request."""
    from feature_extraction.tables.table_files import read_table
    from slifmr_pl.cli.commands.arguments import console, told
    from slifmr_pl.models.base import catalogue_of, load_model
    from slifmr_pl.runs.atomic_files import write_json
    from slifmr_pl.serving.explanation_report import as_dict, print_explanation
    from slifmr_pl.serving.reasons import reasons

    told(f"Loading {options.checkpoint}, and computing the vectors of all users and items")
    module = load_model(options.checkpoint)
    catalogue = catalogue_of(module, options.checkpoint)
    (user,) = catalogue.users.encode([options.user])
    (item,) = catalogue.items.encode([options.item])
    explanation = module.explain(int(user), int(item))
    titles = {}
    if options.titles is not None:
        file, column = options.titles
        table = read_table(Path(file), required=["item_id", column])
        ids, texts = (table[name].cast("string").to_pylist() for name in ("item_id", column))
        titles = dict(zip(ids, texts, strict=True))
    assert module.inputs is not None
    why = reasons(explanation, module.inputs.graph, catalogue, int(item), most=2)
    content = as_dict(explanation, catalogue, options.user, options.item, titles, why)
    print_explanation(content, options.top, console())
    if options.json is not None:
        write_json(options.json, content)
        print(f"Written to {options.json}")
    return 0
