"""`study`: several models, tuned alike, tested once."""

import argparse
from functools import partial
from pathlib import Path

from slifmr_pl.cli.commands.arguments import add_settings_of_runs, console, threads_of

HELP = "tune several models with as many trials each, test the best once, and write the table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the study's file, and where and how it runs."""
    parser.description = (
        "Tunes each model of a study on the validation part with the same number of trials, trains "
        "the best settings of each with several seeds, and reads the test part once. Started "
        "again, it goes on."
    )
    parser.epilog = "The format of the file, and an example: docs/tune.md."
    parser.add_argument("study", type=Path, metavar="STUDY", help="YAML file of the study")
    add_settings_of_runs(parser)
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="default: runs/studies/NAME, of the file"
    )


def run(options: argparse.Namespace) -> int:
    """Runs what is missing of the study, prints its table and writes it."""
    from dataclasses import replace

    from slifmr_pl.studies.study_file import read_study
    from slifmr_pl.studies.study_report import FILES, write_study
    from slifmr_pl.studies.tuned_study import run_study

    study = read_study(options.study)
    study = replace(study, settings={**study.settings, **dict(options.set)})
    out = options.out or Path("runs", "studies", options.study.stem)
    screen = console()
    say = partial(screen.print, highlight=False, markup=False, soft_wrap=True)
    tuned, comparison = run_study(
        study, out, jobs=options.jobs, threads=threads_of(options.jobs), say=say
    )
    say(write_study(tuned, comparison, out))
    say(f"Written to {out}: {', '.join(FILES)}")
    return 0
