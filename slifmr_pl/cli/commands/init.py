"""`init`: a configuration in which every setting is explained."""

import argparse
from pathlib import Path

from slifmr_pl.cli.commands.arguments import configuration, setting

HELP = "write a configuration with every setting of fit, its default and what it means"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the file, and what it starts from."""
    parser.epilog = "For example: slifmr init mine.yaml --config demo --set data.root=PATH"
    parser.add_argument("file", type=Path, metavar="FILE", help="what is written")
    parser.add_argument(
        "--config",
        dest="configs",
        type=configuration,
        action="append",
        default=[],
        metavar="CONFIG",
        help="as in fit: a file or the name of a preset to start from; the later one wins",
    )
    parser.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting, for example data.root=PATH, or model=Ease; give it again for the next",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")


def run(options: argparse.Namespace) -> int:
    """Writes the file."""
    import json

    from slifmr_pl.cli.commented_configuration import commented_configuration
    from slifmr_pl.cli.lightning import fit_settings
    from slifmr_pl.config.sections import class_and_settings
    from slifmr_pl.errors import ConfigError
    from slifmr_pl.runs.atomic_files import write_whole

    file: Path = options.file
    if file.exists() and not options.overwrite:
        raise ConfigError(
            "the file is there already",
            expected="a new file",
            fix="choose another name, or add --overwrite",
            path=file,
        )
    values = [
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in options.set
    ]
    parser, settings = fit_settings([*(f"--config={path}" for path in options.configs), *values])
    _, data = class_and_settings(settings["data"], "data")
    root = " --data.root PATH" if "root" in data and data["root"] is None else ""
    head = (
        "# Every setting of `slifmr fit`, and what it means. What you delete has its default.\n"
        f"# slifmr fit --config {file.name}{root}\n\n"
    )
    write_whole(file, (head + commented_configuration(parser, settings)).encode())
    print(f"Written to {file}; train with\n  slifmr fit --config {file}{root}")
    return 0
