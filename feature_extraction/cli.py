"""Command line of feature extraction: ``python -m feature_extraction``."""

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from feature_extraction.encoders.encoder import short_names
from feature_extraction.encoders.spec import Dtype, EncoderSpec, Pooling, Precision
from feature_extraction.encoders.text_preparation import LongTexts
from feature_extraction.errors import FeatureError, UserFacingError
from feature_extraction.extraction.extraction_config import ExtractionConfig
from feature_extraction.extras import extra_library
from feature_extraction.pipes import STATUS, ends_quietly

if TYPE_CHECKING:
    from feature_extraction.items.item_table import ItemTable
    from feature_extraction.items.raw_modality import RawModality

_SHOWN_FAILURES = 20


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: Arguments without the program name; None takes those of the process.

    Returns:
        Exit code: 0, or 2 if the input cannot be used as asked (argparse exits with 2 too).
    """
    with ends_quietly():
        options = _parser().parse_args(args)
        try:
            with _log_to_stderr():
                commands = {
                    "extract": _extract,
                    "import": _import,
                    "reduce": _reduce,
                    "download": _download,
                    "show": _show,
                    "verify": _verify,
                }
                commands[options.command](options)
        except UserFacingError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return 0
    return STATUS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m feature_extraction",
        description="Turn images, texts and other raw inputs of items into feature stores.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    extract = commands.add_parser(
        "extract", help="extract features, or reuse them if nothing that they depend on changed"
    )
    items = _add_items(extract, required=True)
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
    _add_reduction(output, required=False)
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
    _add_import(commands.add_parser("import", help="take over features that exist already"))
    _add_download(
        commands.add_parser("download", help="fetch pictures or sounds by their addresses")
    )
    reduce = commands.add_parser("reduce", help="make a store with fewer columns of a store")
    reduce.add_argument("store", type=Path, help="feature store folder")
    reduce.add_argument("--output", type=Path, required=True, help="folder of feature stores")
    reduce.add_argument("--name", required=True, help="name of the modality")
    _add_reduction(reduce, required=True)
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
    _add_items(verify, required=False)
    return parser


def _add_download(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Fetch the file of each item into a folder, <item id>.jpg and so on, which extract reads "
        "with --images. Run again, it goes on, and tries what failed anew."
    )
    parser.add_argument("--urls", type=Path, required=True, help="table with a row per item")
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    parser.add_argument("--id-column", default="item_id", help="default: item_id")
    parser.add_argument("--url-column", default="url", help="default: url")
    parser.add_argument("--type", choices=("image", "audio"), default="image")
    parser.add_argument("--concurrency", type=int, default=8, help="files at once (default: 8)")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-mb", type=float, default=20, help="of a file (default: 20)")
    limits.add_argument("--max-seconds", type=float, default=60, help="for a file (default: 60)")
    limits.add_argument("--attempts", type=int, default=4, help="for a file (default: 4)")
    limits.add_argument(
        "--allow-private", action="store_true", help="also addresses of this network"
    )
    limits.add_argument(
        "--ignore-robots",
        action="store_true",
        help="where the source allows it otherwise than by its robots.txt",
    )
    limits.add_argument("--user-agent", help="what it says of itself; name a way to reach you")


def _add_reduction(parser: Any, *, required: bool) -> None:
    parser.add_argument(
        "--reduce",
        type=int,
        metavar="N",
        required=required,
        help="keep N columns: the principal components of the items' features",
    )
    parser.add_argument("--whiten", action="store_true", help="give each of them variance 1")


def _add_items(parser: argparse.ArgumentParser, *, required: bool) -> Any:
    items = parser.add_argument_group("items")
    items.add_argument(
        "--items", type=Path, required=required, help="Parquet, Arrow, CSV, TSV or JSON lines file"
    )
    items.add_argument("--id-column", required=required, help="column of item ids")
    items.add_argument(
        "--text-columns", nargs="+", default=[], help="columns that make up the text"
    )
    items.add_argument(
        "--text-template", help="in their place, for example '{title}. {description}'"
    )
    items.add_argument(
        "--images", nargs="+", type=Path, default=[], help="folder of image files, or archives"
    )
    items.add_argument(
        "--image-column",
        nargs="+",
        default=[],
        help="columns of names inside it, or of bytes; without: <item id>.png, .jpg, ...",
    )
    return items


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


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    logger = logging.getLogger("feature_extraction")
    level = logger.level
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


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
    store = extract(_items(options, spec.reads), spec, options.output, name=name, config=config)
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


def _items(options: argparse.Namespace, reads: "RawModality | None" = None) -> "ItemTable":
    """The item table; `reads` is what `--columns` and `--files` are of."""
    from feature_extraction.items.item_table import ItemTable, RawColumns

    other = reads is not None and reads.name not in _FLAGS
    return ItemTable(
        options.items,
        id_column=options.id_column,
        text_columns=options.text_columns,
        text_template=options.text_template,
        image_columns=options.image_column,
        images=options.images,
        raw=[RawColumns(reads, options.columns, options.files)] if reads and other else [],
    )


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


_FLAGS = {
    "text": ("--text-columns", "--text-template"),
    "image": ("--images", "--image-column"),
    "": ("--columns", "--files"),  # of all other raw modalities
}


def _check_sources(options: argparse.Namespace, spec: EncoderSpec) -> None:
    """Refuse options that this kind of encoder would not read, or does not find."""
    own = spec.reads.name if spec.reads.name in _FLAGS else ""
    given = {
        name
        for name, flags in _FLAGS.items()
        if any(getattr(options, flag.removeprefix("--").replace("-", "_")) for flag in flags)
    }
    if given == {own}:
        return
    others = [flag for name, flags in _FLAGS.items() if name != own for flag in flags]
    raise FeatureError(
        f"sources of items that do not fit --kind {options.kind}, which reads {spec.reads.name}",
        expected=f"{' or '.join(_FLAGS[own])}, and neither {' nor '.join(others)}",
        fix="give one kind of source; run once for each raw modality",
    )


def _download(options: argparse.Namespace) -> None:
    for name in ("concurrency", "max_mb", "max_seconds", "attempts"):
        if not 0 < getattr(options, name) < 10_000:
            raise FeatureError(
                f"{name} is {getattr(options, name):g}",
                expected="above 0 and below 10,000",
                fix=f"choose another --{name.replace('_', '-')}",
            )
    extra_library("urllib3", "download", "fetching files")
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn

    from feature_extraction.downloads.download import download
    from feature_extraction.downloads.download_report import REPORT
    from feature_extraction.downloads.fetching import USER_AGENT, Fetcher

    fetcher = Fetcher(
        max_bytes=int(options.max_mb * 2**20),
        max_seconds=options.max_seconds,
        attempts=options.attempts,
        allow_private=options.allow_private,
        user_agent=options.user_agent or USER_AGENT,
    )
    columns = (TextColumn("{task.description}"), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("items", total=None)
        summary = download(
            options.urls,
            options.out,
            fetcher,
            id_column=options.id_column,
            url_column=options.url_column,
            kind=options.type,
            concurrency=options.concurrency,
            ignore_robots=options.ignore_robots,
            advance=lambda: bar.advance(task),
        )
    print(f"{summary}\n{options.out / REPORT}")
    if not summary.fetched + summary.kept:
        raise FeatureError(
            "no file was fetched",
            expected="at least one",
            fix="see the reasons above, and in the report",
            path=options.out / REPORT,
        )


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
    items = None if options.items is None else _items(options)
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
