"""`python -m benchmarks NAME`: prints the table of a benchmark and writes its JSON."""

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import get_args

import torch

from benchmarks.registry import load, summaries
from benchmarks.report import REPOSITORY, show, write
from benchmarks.settings import Model, Settings
from slifmr_pl.errors import UserFacingError

ALL = "all"


def main(args: Sequence[str] | None = None) -> int:
    """Runs one benchmark, or all.

    Args:
        args: Command line without the program's name; default `sys.argv`.

    Returns:
        Exit status: 0, or 2 where input or configuration has to be mended.
    """
    names = summaries()
    parser = _parser(list(names))
    options = parser.parse_args(args)
    if options.list:
        for name, summary in names.items():
            print(f"{name:10} {summary}")
        return 0
    if options.name is None:
        parser.error(f"name a benchmark: {', '.join([*names, ALL])}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda, but torch sees no GPU")
    settings = _settings(options)
    torch.set_num_threads(settings.threads)
    command = ["python", "-m", "benchmarks", *(sys.argv[1:] if args is None else args)]
    try:
        for name in names if options.name == ALL else [options.name]:
            _run(name, settings, _target(options, name), command)
    except UserFacingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(name: str, settings: Settings, target: Path, command: Sequence[str]) -> None:
    reports = []
    benchmark = load(name)
    with _quiet_lightning():
        for report in benchmark(settings):
            show(report)
            reports.append(report)
    write(target, name, reports, settings, command)
    print(f"  figures: {target}\n", flush=True)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    # Lightning has set its own level when it was imported.
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.* is deprecated")
        try:
            yield
        finally:
            logger.setLevel(level)


def _target(options: argparse.Namespace, name: str) -> Path:
    default: Path = REPOSITORY / "benchmarks" / "results"
    if options.name == ALL:
        return (options.out or default) / f"{name}.json"
    return options.out or default / f"{name}.json"


def _settings(options: argparse.Namespace) -> Settings:
    known = {field.name for field in fields(Settings)}
    values = {name: value for name, value in vars(options).items() if name in known}
    values["device"] = torch.device(options.device)
    values["peers"] = tuple(options.peers)
    if options.repeats is None:
        values["repeats"] = 1 if options.quick else Settings.repeats
    return Settings(**values)


def _parser(names: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Ours, baselines and limits side by side: time, ratio, peak extra memory.",
    )
    parser.add_argument("name", nargs="?", choices=[*names, ALL], metavar="NAME")
    parser.add_argument("--list", action="store_true", help="name the benchmarks")
    parser.add_argument("--quick", action="store_true", help="tiny data: does everything run?")
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of amazon-book in KGAT's format, of `pictures` one of pictures, of `peers` "
        "one in MMRec's format; default: generated",
    )
    parser.add_argument("--threads", type=_positive, default=Settings.threads)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=_positive, help="default 7, quick: 1")
    parser.add_argument("--dim", type=_positive, default=Settings.dim, help="embedding size")
    parser.add_argument(
        "--out", type=Path, help="JSON file, or folder for `all`; default benchmarks/results"
    )
    parser.add_argument(
        "--model", choices=get_args(Model), help="of `step` (lightgcn) and `growth` (knowledge)"
    )
    parser.add_argument(
        "--recbole-python",
        type=Path,
        default=Settings.recbole_python,
        help="interpreter with RecBole, for `step` (default this one) and `peers` (none)",
    )
    parser.add_argument("--encoder", type=Path, help="model folder, for `pictures`")
    parser.add_argument(
        "--peers", nargs="+", default=(), metavar="CLASS", help="some of `peers`, such as Freedom"
    )
    parser.add_argument("--mmrec", type=Path, help="checkout of MMRec, for `peers`")
    parser.add_argument("--selfrec", type=Path, help="checkout of SELFRec, for `peers`")
    parser.add_argument("--plot", type=Path, help="image that `growth` draws (.svg, .png)")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
