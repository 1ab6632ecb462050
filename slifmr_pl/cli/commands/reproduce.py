"""`reproduce`: a run again, and whether its numbers agree."""

import argparse
import traceback
from pathlib import Path

from slifmr_pl.cli.commands.arguments import console, share

HELP = "train a run again from its saved configuration, test it, and compare every number"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the run, where its data are now, and the tolerance."""
    parser.epilog = (
        "Ends with 0 where all numbers agree, 1 where some differ, 2 where the run could "
        "not be repeated."
    )
    parser.add_argument("runs", type=Path, nargs=1, metavar="RUN", help="folder of a tested run")
    parser.add_argument(
        "--data.root",
        dest="data_root",
        type=Path,
        metavar="PATH",
        help="where the data folder is now; default: as configured",
    )
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="where the new run goes; default: RUN/reproduction"
    )
    parser.add_argument(
        "--tolerance",
        type=share,
        default=1e-3,
        metavar="T",
        help="relative difference that still counts as agreement; default: %(default)s",
    )


def run(options: argparse.Namespace) -> int:
    """Trains, tests, compares and prints."""
    from slifmr_pl.errors import UserFacingError
    from slifmr_pl.studies.reproduction_report import reproduce

    (run,) = options.runs
    out = options.out or run / "reproduction"
    try:
        agrees = reproduce(run, out, options.data_root, options.tolerance, console())
    except UserFacingError:
        raise
    except Exception:
        traceback.print_exc()
        return 2  # Python's own status for this, 1, would say that numbers differ
    return 0 if agrees else 1
