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


def run(options: argparse.Namespace) -> int:
    """Writes the folder and says what is in it."""
    from slifmr_pl.serving.export import export

    manifest = export(options.checkpoint, options.out, onnx=options.onnx, faiss=options.faiss)
    what = (
        f"d {manifest['embedding_dim']}"
        if "embedding_dim" in manifest
        else f"lists of {manifest['list_length']}: the model gives scores and no vectors"
    )
    print(
        f"Exported {manifest['users']:,} users and {manifest['items']:,} items, "
        f"{what}, to {options.out}"
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
