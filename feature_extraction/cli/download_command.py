"""The command ``download``."""

import argparse
from pathlib import Path
from typing import Any

from feature_extraction.errors import FeatureError
from feature_extraction.extras import extra_library


def add_download(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser("download", help="fetch pictures or sounds by their addresses")
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
    parser.set_defaults(run=_download)


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
