"""What is seen of requests: metrics for Prometheus and a line of log each, without users' ids."""

import logging
import os
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable: the folder in which several workers add their metrics up."""

log = logging.getLogger("slifmr_pl.service")

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """What Prometheus gets of one application."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "slifmr_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "slifmr_request_seconds",
            "Time from request to answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.lists = Counter(
            "slifmr_lists", "Lists given, by what made them.", ["source"], registry=registry
        )
        self.reloads = Counter(
            "slifmr_reloads", "Exports loaded after the first.", ["outcome"], registry=registry
        )
        self.loaded = Gauge(
            "slifmr_export_loaded_timestamp_seconds",
            "When the oldest export that is served was loaded.",
            registry=registry,
            multiprocess_mode="livemin",
        )

    def text(self) -> bytes:
        """The values, of all workers, in Prometheus' text format."""
        if MULTIPROCESS not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


class Observed:
    """Counts, times and logs requests by the pattern of their route.

    The paths themselves hold ids of users, and stay out of both.

    Args:
        app: What is observed.
        metrics: What counts.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers as the application does."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "none").replace(":path", "")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            log.info("%s %s %d %.1f ms", scope["method"], route, status, 1000 * seconds)
