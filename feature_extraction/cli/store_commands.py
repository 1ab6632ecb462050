"""The commands ``import``, ``reduce``, ``show`` and ``verify``: feature stores that are there."""

import argparse
from pathlib import Path
from typing import Any

from feature_extraction.cli.extract_command import add_reduction
from feature_extraction.cli.item_arguments import add_items, item_table
from feature_extraction.errors import FeatureError

_SHOWN_FAILURES = 20


def add_store_commands(commands: Any) -> None:
    """Add the commands to a parser's subparsers."""
    _add_import(commands.add_parser("import", help="take over features that exist already"))
    reduce = commands.add_parser("reduce", help="make a store with fewer columns of a store")
    reduce.add_argument("store", type=Path, help="feature store folder")
    reduce.add_argument("--output", type=Path, required=True, help="folder of feature stores")
    reduce.add_argument("--name", required=True, help="name of the modality")
    add_reduction(reduce, required=True)
    show = commands.add_parser("show", help="print what a feature store holds")
    show.add_argument("store", type=Path, help="feature store folder")
    show.add_argument("--verify", action="store_true", help="also check every value and hash")
    verify = commands.add_parser(
        "verify", help="check a feature store, and draw items beside their nearest neighbours"
    )
    verify.add_argument("store", type=Path, help="feature store folder")
    verify.add_argument(
        "--against",
        type=Path,
        metavar="TABLE",
        help="interactions: do neighbours share users more often than by chance?",
    )
    verify.add_argument("--user-column", default="user_id", help="of --against (user_id)")
    verify.add_argument("--item-column", default="item_id", help="of --against (item_id)")
    verify.add_argument("--sheet", type=Path, help="PNG to draw; the items' names and pictures:")
    add_items(verify, required=False)
    for parser, run in ((reduce, _reduce), (show, _show), (verify, _verify)):
        parser.set_defaults(run=run)


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make a feature store of features that were computed elsewhere."
    parser.add_argument("features", type=Path, help=".npy, .safetensors or a table (.parquet)")
    parser.add_argument("--output", type=Path, required=True, help="folder of feature stores")
    parser.add_argument("--name", required=True, help="name of the modality")
    parser.add_argument("--id-column", required=True, help="column of item ids")
    parser.add_argument(
        "--items",
        type=Path,
        help="table whose rows the rows of the array are of, in the same order",
    )
    parser.add_argument("--tensor", help="which one, if a safetensors file has several")
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        help="of a table: one column of lists, or a column for each dimension",
    )
    parser.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> None:
    from feature_extraction.items.item_table import ItemTable
    from feature_extraction.stores.precomputed import (
        load_array,
        load_columns,
        load_tensor,
        refuse_pickled,
        write_features,
    )

    path = options.features
    refuse_pickled(path)
    in_table = path.suffix not in (".npy", ".safetensors")
    if in_table is not bool(options.columns) or in_table is not (options.items is None):
        raise FeatureError(
            f"options that do not fit a {path.suffix} file",
            expected="--columns and no --items" if in_table else "--items and no --columns",
            fix="a table of features has the ids itself; an array has its rows in the order of "
            "the item table",
        )
    if in_table:
        ids, features = load_columns(path, options.id_column, options.columns)
    else:
        ids = [item.id for item in ItemTable(options.items, id_column=options.id_column)]
        features = load_array(path) if path.suffix == ".npy" else load_tensor(path, options.tensor)
    store = write_features(options.output / options.name, ids, features, path)
    masked = len(store.ids) - int(store.present.sum())
    print(f"{store.path}: {len(store.ids)} items, {masked} masked (rows of zeros)")


def _reduce(options: argparse.Namespace) -> None:
    from feature_extraction.extraction.keys import reduced_key
    from feature_extraction.stores.reduction import reduce_store
    from feature_extraction.stores.store import FeatureStore

    store = FeatureStore.open(options.store, verify=True)
    size, whiten = options.reduce, options.whiten
    key = reduced_key(str(store.manifest["content_key"]), size, whiten=whiten)
    target = options.output / f"{options.name}-{key[:16]}"
    store = reduce_store(store, target, key, size, whiten=whiten)
    explained = store.manifest["reduction"]["explained_variance"]
    print(f"{store.path}: {size} columns with {explained:.1%} of the variance")


def _verify(options: argparse.Namespace) -> None:
    from feature_extraction.stores.verify import Interactions, verify

    if (options.items is None) != (options.id_column is None):
        raise FeatureError(
            "one of --items and --id-column without the other",
            expected="both, for a sheet with names and pictures",
            fix="add the other",
        )
    items = None if options.items is None else item_table(options)
    against = None
    if options.against is not None:
        against = Interactions(options.against, options.user_column, options.item_column)
    print(verify(options.store, sheet=options.sheet, items=items, against=against))


def _show(options: argparse.Namespace) -> None:
    from feature_extraction.stores.store import FAILURES, FeatureStore

    store = FeatureStore.open(options.store, verify=options.verify)
    manifest = store.manifest
    print(f"{store.path}: {len(store.ids)} x {manifest['dim']} {manifest['dtype']}")
    for section in ("encoder", "preprocessing", "reduction", "counts", "libraries"):
        # Hashes of files stay in the manifest itself.
        known = manifest.get(section, {})
        entries = {k: v for k, v in known.items() if k not in ("files", "sha256")}
        if entries:
            print(f"{section}: " + ", ".join(f"{key}={value}" for key, value in entries.items()))
    print(f"pooling: {manifest.get('pooling')}")
    print(f"content key: {manifest.get('content_key')}")
    failures = store.failures
    for failure in failures[:_SHOWN_FAILURES]:
        where = failure["file"] or "no file name"
        print(f"failed: {failure['item']} ({where}): {failure['reason']}")
    if len(failures) > _SHOWN_FAILURES:
        print(f"... and {len(failures) - _SHOWN_FAILURES} more in {store.path / FAILURES}")
