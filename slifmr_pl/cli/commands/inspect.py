"""`inspect`: a data folder before training."""

import argparse
from pathlib import Path

from slifmr_pl.cli.commands.arguments import configuration

HELP = "look at a data folder before training: sizes, oddities, what training does with them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the folder, its settings and where to write."""
    parser.add_argument(
        "root",
        type=Path,
        nargs="?",
        metavar="ROOT",
        help="the data folder; default: the data of --config, which may be of a class of your own",
    )
    parser.add_argument(
        "--config",
        dest="configs",
        type=configuration,
        action="append",
        default=[],
        metavar="FILE",
        help="configuration of `fit`, a file or the name of a preset, of which the section data is "
        "used; give it again to add another, the later one wins; default: no filter, a ratio split",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("inspection"),
        metavar="FOLDER",
        help="gets NAME.html and NAME.json, after the data folder; default: %(default)s",
    )


def run(options: argparse.Namespace) -> int:
    """Writes the findings as a page and as JSON, and prints them."""
    from dataclasses import asdict

    from slifmr_pl.config.files import merged_configuration
    from slifmr_pl.datamodule import data_module
    from slifmr_pl.errors import ConfigError
    from slifmr_pl.report.html.figures import require_matplotlib
    from slifmr_pl.report.html.page import write_page
    from slifmr_pl.report.inspection.inspect import inspect
    from slifmr_pl.report.inspection.inspection_page import as_page
    from slifmr_pl.report.inspection.inspection_text import as_text
    from slifmr_pl.report.inspection.notes import notes
    from slifmr_pl.runs.atomic_files import write_json

    require_matplotlib()
    if options.root is None and not options.configs:
        raise ConfigError(
            "no data are named",
            expected="a data folder, a configuration, or both",
            fix="for example: slifmr inspect FOLDER",
        )
    changes = {} if options.root is None else {"root": str(options.root)}
    file = options.configs[-1] if options.configs else None
    inspected = inspect(data_module(merged_configuration(options.configs), file, **changes))
    findings = inspected.findings
    name = findings.name
    page, record = (options.out / f"{name}.{suffix}" for suffix in ("html", "json"))
    write_page(page, as_page(inspected))
    write_json(record, asdict(findings) | {"notes": [asdict(note) for note in notes(findings)]})
    print(as_text(findings))
    print(f"\nWritten to {page} and {record}")
    return 0
