"""`serve`: an export over HTTP."""

import argparse
import os
from pathlib import Path

from slifmr_pl.cli.commands.arguments import at_least, told

HELP = "answer requests for lists over HTTP, from an export"


def port(text: str) -> int:
    """A type of argument: numbers of ports."""
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 65535")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the export and where to listen."""
    parser.epilog = (
        "Requests must carry the key in $SLIFMR_API_KEY, where there is one. SIGHUP loads the "
        "export anew. How to run it in earnest: docs/deploy.md."
    )
    parser.add_argument(
        "export", type=Path, metavar="EXPORT", help="what `slifmr export` wrote, or a link to it"
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument(
        "--port", type=port, default=8000, help="0 takes a free one; default: %(default)s"
    )
    parser.add_argument(
        "--workers",
        type=at_least(1),
        default=1,
        metavar="N",
        help="processes, which share the mapped vectors; default: %(default)s",
    )


def run(options: argparse.Namespace) -> int:
    """Serves until it is stopped."""
    # Read when numpy is imported. Requests come side by side; several threads of one product
    # would wait for those of the others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from copy import deepcopy
    from tempfile import TemporaryDirectory

    from slifmr_pl.config.optional import library

    uvicorn = library("uvicorn", "serve", "the service")
    for package in ("fastapi", "fastapi_offline", "prometheus_client"):
        library(package, "serve", "the service")
    from slifmr_pl.serving.service.application import EXPORT, KEY, application
    from slifmr_pl.serving.service.observation import MULTIPROCESS, log
    from slifmr_pl.serving.service.served_export import ServedExport
    from slifmr_pl.serving.service.workers import run_workers

    key = os.environ.get(KEY) or None
    if key is None:
        told(f"No key is asked for: whoever reaches {options.host} gets lists. Set ${KEY}.")
    logs = deepcopy(uvicorn.config.LOGGING_CONFIG)
    logs["loggers"][log.name] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    settings = {
        "host": options.host,
        "port": options.port,
        "log_config": logs,
        "access_log": False,  # it would show users' ids; the application has its own
        "timeout_graceful_shutdown": 30,
    }
    if options.workers == 1:
        uvicorn.run(application(options.export, key), **settings)
        return 0
    ServedExport(options.export)  # an error is said here, once
    os.environ[EXPORT] = str(options.export.absolute())
    with TemporaryDirectory(prefix="slifmr-metrics-") as folder:
        os.environ.setdefault(MULTIPROCESS, folder)
        create = "slifmr_pl.serving.service.application:create"
        run_workers(uvicorn.Config(create, factory=True, workers=options.workers, **settings))
    return 0
