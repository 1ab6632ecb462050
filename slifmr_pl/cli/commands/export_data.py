"""`export-data`: the prepared data of a configuration, for other recommenders."""

import argparse
from pathlib import Path

from slifmr_pl.cli.commands.arguments import configuration

HELP = "write a configuration's filtered and split data for RecBole or MMRec"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the format, the configuration and the folder."""
    parser.epilog = "How to run the others on it: docs/formats.md."
    parser.add_argument("format", choices=("recbole", "mmrec"))
    parser.add_argument(
        "config",
        type=configuration,
        metavar="CONFIG",
        help="a configuration, such as a run's config.yaml",
    )
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="folder to write; its name is the data set's"
    )
    parser.add_argument(
        "--data.root",
        dest="data_root",
        metavar="PATH",
        help="the data folder; default: as configured",
    )


def run(options: argparse.Namespace) -> int:
    """Prepares the data as `fit` would, and writes them."""
    from slifmr_pl.config.files import merged_configuration
    from slifmr_pl.data.formats import mmrec, recbole
    from slifmr_pl.data.formats.new_folder import new_folder, require_free
    from slifmr_pl.datamodule import data_module

    require_free(options.out)
    changes = {} if options.data_root is None else {"root": options.data_root}
    module = data_module(merged_configuration([options.config]), options.config, **changes)
    print(module.data.summary)
    name = options.out.absolute().name
    with new_folder(options.out) as folder:
        if options.format == "recbole":
            notes = recbole.export(module.data, folder, name)
        else:
            notes = mmrec.export(module.data, module.features(module.data.items), folder, name)
    for note in notes:
        print(f"note: {note}")
    print(f"Written for {options.format} to {options.out}; its settings are {name}.yaml")
    return 0
