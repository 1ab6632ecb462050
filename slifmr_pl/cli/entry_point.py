"""The command line: `slifmr`, `python lightning_cli.py` and `main(args)` are the same thing.

What takes seconds to import is imported once it is needed: to show what there is, it is not.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slifmr_pl import __version__

SUBCOMMANDS = {
    "fit": "train; checkpoints, metrics and configuration go to a new folder below runs/",
    "validate": "rank items for the validation part with a checkpoint",
    "test": "rank items for the test part with a checkpoint",
    "predict": "write the recommendations of a checkpoint for all users",
}


def main(args: list[str] | None = None) -> int:
    """Runs one subcommand.

    Args:
        args: Command line without the program's name; default `sys.argv`.

    Returns:
        Exit status: 0; 2 where input, configuration or the disk has to be mended, or a process is
        lost; 130 or 143 where SIGINT or SIGTERM stopped it.
    """
    given = sys.argv[1:] if args is None else args
    if given in (["-h"], ["--help"]):
        print(_overview(Path(sys.argv[0]).name))
        return 0
    if given == ["--version"]:
        print(f"slifmr_pl {__version__}")
        return 0
    if "--print_metric_definitions" in given:
        from slifmr_pl.metrics.definitions import as_markdown

        print(as_markdown(), end="")
        return 0
    try:
        with _everything_kept():
            from slifmr_pl.cli.lightning import run
    except KeyboardInterrupt:
        print("Stopped before anything began.", file=sys.stderr)
        return 130
    return run(args)


def _overview(program: str) -> str:
    lines = "\n".join(f"  {name:10}{what}" for name, what in SUBCOMMANDS.items())
    return f"""usage: {program} SUBCOMMAND [--config FILE]... [--KEY VALUE]...

Train, evaluate and use SLIF-MR recommenders.

subcommands:
{lines}

SUBCOMMAND --help lists every setting; SUBCOMMAND --print_config prints them as a file;
--version prints the version.
--print_metric_definitions prints what each metric means, exactly."""


@contextmanager
def _everything_kept() -> Iterator[None]:
    """Keeps the garbage collector from what is imported: all of it lives as long as the process.

    Looking through that million objects again and again, and once more at the end, would take
    a third of the time from the command to its first action.
    """
    if "slifmr_pl.cli.lightning" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


if __name__ == "__main__":  # where neither the console script nor lightning_cli.py is at hand
    raise SystemExit(main())
