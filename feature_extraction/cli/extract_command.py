"""The command ``extract``."""

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from feature_extraction.cli.item_arguments import FLAGS, add_items, item_table
from feature_extraction.encoders.encoder import short_names
from feature_extraction.encoders.spec import Dtype, EncoderSpec, Pooling, Precision
from feature_extraction.encoders.text_preparation import LongTexts
from feature_extraction.errors import FeatureError
from feature_extraction.extraction.extraction_config import ExtractionConfig


def add_extract(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    extract = commands.add_parser(
        "extract", help="extract features, or reuse them if nothing that they depend on changed"
    )
    items = add_items(extract, required=True)
    items.add_argument(
        "--columns", nargs="+", default=[], help="of a raw modality that is neither text nor image"
    )
    items.add_argument(
        "--files", nargs="+", type=Path, default=[], help="folder of its files, or archives"
    )
    encoder = extract.add_argument_group("encoder")
    encoder.add_argument(
        "--encoder", default="", help="hub id or local model folder, unless the kind has no files"
    )
    encoder.add_argument(
        "--kind",
        required=True,
        help=f"{', '.join(short_names())}, or the class of an encoder: my_package.MyEncoder",
    )
    encoder.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the kind's own, such as layer=5; once for each",
    )
    encoder.add_argument(
        "--plugins", nargs="+", default=[], help="modules to import that give kinds short names"
    )
    encoder.add_argument("--revision", help="commit of a hub id")
    encoder.add_argument(
        "--pooling",
        choices=get_args(Pooling),
        help="of image, text, bert, vit and audio; each kind says which, and has a default",
    )
    encoder.add_argument("--max-length", type=int, help="tokens; default: the model's limit")
    encoder.add_argument(
        "--long-texts",
        choices=get_args(LongTexts),
        default="truncate",
        help="what becomes of texts of more tokens (default: truncate)",
    )
    encoder.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="float32",
        help="type that the encoder computes in (default: float32)",
    )
    output = extract.add_argument_group("output")
    output.add_argument("--output", type=Path, required=True, help="folder of feature stores")
    output.add_argument("--name", help="name of the modality (default: the kind, or its class)")
    output.add_argument("--dtype", choices=get_args(Dtype), default="float32")
    add_reduction(output, required=False)
    run = extract.add_argument_group("run (changes no features)")
    run.add_argument("--batch-size", type=int, default=64)
    run.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    run.add_argument(
        "--devices", type=int, default=1, help="GPUs, or CPU processes, that share the items out"
    )
    run.add_argument("--workers", type=int, help="processes that decode and tokenise for each")
    run.add_argument(
        "--strict", action="store_true", help="stop at the first input that cannot be used"
    )
    extract.set_defaults(run=_extract)


def add_reduction(parser: Any, *, required: bool) -> None:
    """Add how many columns are kept."""
    parser.add_argument(
        "--reduce",
        type=int,
        metavar="N",
        required=required,
        help="keep N columns: the principal components of the items' features",
    )
    parser.add_argument("--whiten", action="store_true", help="give each of them variance 1")


def _extract(options: argparse.Namespace) -> None:
    # numpy and pyarrow are only imported for the work itself, so that --help is quick.
    from feature_extraction.extraction.extract import extract
    from feature_extraction.stores.store import FAILURES

    for plugin in options.plugins:
        _import_plugin(plugin)
    spec = EncoderSpec(
        kind=options.kind,
        name=options.encoder,
        revision=options.revision,
        pooling=options.pooling,
        max_length=options.max_length,
        dtype=options.dtype,
        precision=options.precision,
        long_texts=options.long_texts,
        options=dict(map(_option, options.option)),
        reduce=options.reduce,
        whiten=options.whiten,
    )
    _check_sources(options, spec)
    config = ExtractionConfig(
        batch_size=options.batch_size,
        device=options.device,
        devices=options.devices,
        workers=options.workers,
        strict=options.strict,
    )
    name = options.name or options.kind.rpartition(".")[2]
    store = extract(item_table(options, spec.reads), spec, options.output, name=name, config=config)
    failures = len(store.failures)
    if failures:
        print(f"{failures} inputs failed: {store.path / FAILURES}", file=sys.stderr)
    print(store.path)


def _import_plugin(name: str) -> None:
    try:
        import_module(name)
    except ImportError as error:
        raise FeatureError(
            f"the plug-in {name} cannot be imported ({error})",
            expected="a package or module that Python finds",
            fix="install it, put its folder on PYTHONPATH, or mend what it imports",
        ) from error


def _option(text: str) -> tuple[str, Any]:
    """Read `NAME=VALUE`, where the value is JSON, or else a text."""
    name, separator, value = text.partition("=")
    if not separator or not name.isidentifier():
        raise FeatureError(
            f"--option {text}",
            expected="--option NAME=VALUE, such as layer=5",
            fix="write a name, '=' and a value",
        )
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _check_sources(options: argparse.Namespace, spec: EncoderSpec) -> None:
    """Refuse options that this kind of encoder would not read, or does not find."""
    own = spec.reads.name if spec.reads.name in FLAGS else ""
    given = {
        name
        for name, flags in FLAGS.items()
        if any(getattr(options, flag.removeprefix("--").replace("-", "_")) for flag in flags)
    }
    if given == {own}:
        return
    others = [flag for name, flags in FLAGS.items() if name != own for flag in flags]
    raise FeatureError(
        f"sources of items that do not fit --kind {options.kind}, which reads {spec.reads.name}",
        expected=f"{' or '.join(FLAGS[own])}, and neither {' nor '.join(others)}",
        fix="give one kind of source; run once for each raw modality",
    )
