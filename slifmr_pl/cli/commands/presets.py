"""`presets`: the configurations that come with the package."""

import argparse

HELP = "list the configurations that --config takes by name"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none of its own."""


def run(options: argparse.Namespace) -> int:
    """Prints each with what it is."""
    from slifmr_pl.config.presets import presets, presets_folder, summary_of

    known = presets()
    width = max(map(len, known))
    for name, file in known.items():
        print(f"{name:{width}}  {summary_of(file)}")
    print(f"\nFor example: slifmr fit --config model/lightgcn; the files are in {presets_folder()}")
    return 0
