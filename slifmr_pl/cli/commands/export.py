"""`export`: a trained model as files that need no torch."""

import argparse
from pathlib import Path

HELP = "write embeddings, a model card and, on request, ONNX and a faiss index"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds checkpoint, folder and formats."""
    parser.epilog = "What the files hold: docs/serving.md."
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="a file that `fit` wrote")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    parser.add_argument(
        "--onnx",
        action="store_true",
        help="the scoring tower, verified by onnxruntime (pip install 'slifmr-pl[export]')",
    )
    parser.add_argument(
        "--faiss",
        action="store_true",
        help="an approximate index, its recall measured (pip install 'slifmr-pl[faiss]')",
    )
    parser.add_argument(
        "--new-items",
        type=Path,
        metavar="FILE",
        help="a table with item_id: items that the model does not know are added, from --features "
        "and --facts",
    )
    parser.add_argument(
        "--features",
        type=Path,
        action="append",
        default=[],
        metavar="STORE",
        help="a feature store that holds known and new items; give it again for the next",
    )
    parser.add_argument(
        "--facts",
        type=Path,
        metavar="FILE",
        help="a table with head_id, relation_id, tail_id, of which those of new items are used",
    )


def run(options: argparse.Namespace) -> int:
    """Writes the folder and says what is in it."""
    from slifmr_pl.errors import ConfigError
    from slifmr_pl.serving.export import export
    from slifmr_pl.serving.item_additions import ItemAdditions

    additions = None
    if options.new_items is not None:
        additions = ItemAdditions(options.new_items, options.features, options.facts)
    elif options.features or options.facts:
        raise ConfigError(
            "--features or --facts without --new-items",
            expected="the table of the items that they are of",
            fix="add --new-items FILE",
        )
    manifest = export(
        options.checkpoint,
        options.out,
        onnx=options.onnx,
        faiss=options.faiss,
        additions=additions,
    )
    what = (
        f"d {manifest['embedding_dim']}"
        if "embedding_dim" in manifest
        else f"lists of {manifest['list_length']}: the model gives scores and no vectors"
    )
    print(
        f"Exported {manifest['users']:,} users and {manifest['items']:,} items, "
        f"{what}, to {options.out}"
    )
    if "new_items" in manifest:
        print(
            f"  new items: {manifest['new_items']:,}; features and facts explain "
            f"{manifest['explained']:.2f} of the variance of known items' representations, "
            f"{manifest['unknown_facts']:,} facts are of entities or relations unknown to the model"
        )
    if "embedding_dim" in manifest and "histories" not in manifest:
        print(
            "  histories of new users: not exported, the model has a function of its own for them"
        )
    if onnx := manifest.get("onnx"):
        print(f"  ONNX: largest difference from torch {onnx['largest_difference']:.1e}")
    if index := manifest.get("faiss"):
        recall = next(name for name in index if name.startswith("recall"))
        print(
            f"  faiss: {recall} {index[recall]:.4f} against exact search, "
            f"{index['searched']} of {index['lists']} lists searched"
        )
    print("  README.md is the model card; fill in its placeholders.")
    return 0
