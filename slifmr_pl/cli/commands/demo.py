"""`demo`: the demo catalogue."""

import argparse
from pathlib import Path

HELP = "write the demo catalogue and its tiny encoders"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the folder."""
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("demo_data"), help="default: %(default)s"
    )


def run(options: argparse.Namespace) -> int:
    """Writes it, unless it is there."""
    from slifmr_pl.demo.catalogue_files import write_demo_catalogue
    from slifmr_pl.demo.encoders import write_demo_encoders

    summary = write_demo_catalogue(options.folder)
    write_demo_encoders(options.folder / "encoders")
    print(
        f"{'Wrote' if summary.written else 'Found'} the demo catalogue in {options.folder}: "
        f"{summary.users} users, {summary.items} items, {summary.interactions} interactions, "
        f"{summary.triples} triples, and two tiny untrained encoders."
    )
    return 0
