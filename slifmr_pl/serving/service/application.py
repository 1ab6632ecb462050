"""The service as an ASGI application."""

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_offline import FastAPIOffline

from slifmr_pl import __version__
from slifmr_pl.errors import ConfigError
from slifmr_pl.serving.service.current_export import CurrentExport
from slifmr_pl.serving.service.observation import Metrics, Observed
from slifmr_pl.serving.service.payloads import MAX_BODY
from slifmr_pl.serving.service.rankings import NotInExportError
from slifmr_pl.serving.service.routes import list_routes, probe_routes, state_routes

EXPORT, KEY = "SLIFMR_EXPORT", "SLIFMR_API_KEY"
"""Environment variables: the folder of the export, and the key that requests must carry."""

_DESCRIPTION = """\
Lists from an export of `slifmr export`, with raw ids.

A user whom training has not seen gets what is popular, marked as `popular`. Ids in filters that the
export does not know are ignored, and named in the answer. With a key, requests carry it as
`Authorization: Bearer KEY`."""


def create() -> FastAPI:
    """The application of `$SLIFMR_EXPORT`, for any ASGI server.

    Raises:
        ConfigError: If the variable is not set.
        DataError: If the folder holds no whole export.
    """
    if not os.environ.get(EXPORT):
        raise ConfigError(
            f"the environment variable {EXPORT} is not set",
            expected="the folder of an export",
            fix=f"{EXPORT}=FOLDER, or start with: slifmr serve FOLDER",
        )
    return application(Path(os.environ[EXPORT]), os.environ.get(KEY) or None)


def application(folder: Path, key: str | None = None) -> FastAPI:
    """The application of an export.

    Args:
        folder: What `slifmr export` wrote, or a link to it.
        key: What requests for lists, version and metrics must carry; None for nothing.

    Raises:
        DataError: If the folder holds no whole export.
    """
    metrics = Metrics()
    current = CurrentExport(folder, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # More scores at a time than cores would only take memory and wait for each other.
        anyio.to_thread.current_default_thread_limiter().total_tokens = os.cpu_count() or 1
        async with current.reloading_on_hangup():
            yield

    app: FastAPI = FastAPIOffline(
        redoc_url=None,
        title="Recommendations",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        max_body_size=MAX_BODY,
    )
    app.add_middleware(Observed, metrics=metrics)
    app.include_router(probe_routes(lambda: current.served))
    for routes in (list_routes, state_routes):
        app.include_router(
            routes(lambda: current.served, metrics),
            dependencies=[] if key is None else [Depends(_key_check(key))],
        )

    @app.exception_handler(NotInExportError)
    async def not_in_export(_: Request, error: NotInExportError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 501)

    return app


def _key_check(key: str) -> Callable[..., Awaitable[None]]:
    bearer = HTTPBearer(auto_error=False, description="The key of the service")

    async def require_key(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    ) -> None:
        if given is None or not secrets.compare_digest(given.credentials.encode(), key.encode()):
            raise HTTPException(
                401,
                "the key is missing or wrong; send Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )

    return require_key
