"""`slifmr serve` as a process of its own, and clients that all ask at once."""

import asyncio
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import aiohttp

from benchmarks.harness import Prepared, Timing
from benchmarks.probes import resident_of
from benchmarks.report import readable_bytes, readable_seconds


class ServiceLoad:
    """Clients that each ask again as soon as they are answered.

    Args:
        export: What is served.
        users: Raw ids, of whom the clients ask for others.
        k: Length of the lists.
        clients: Clients, each with a connection that stays open.
        requests_a_client: Requests of each client in one run.
    """

    def __init__(
        self,
        export: Path,
        users: Sequence[str],
        *,
        k: int,
        clients: int,
        requests_a_client: int,
    ) -> None:
        self._export, self._users, self._k = export, users, k
        self.clients, self._requests = clients, requests_a_client
        self._seconds: list[float] = []
        self._resident: tuple[int, int] | None = None

    def prepare(self) -> Prepared:
        """Starts the service."""
        process = subprocess.Popen(
            [sys.executable, "-m", "slifmr_pl", "serve", str(self._export), "--port", "0"],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        port = None
        lines = []
        while port is None:
            line = process.stderr.readline()
            lines.append(line)
            if not line:
                raise RuntimeError("the service did not start:\n" + "".join(lines))
            if found := re.search(r"running on http://127.0.0.1:(\d+)", line):
                port = int(found[1])
        # Its log goes on through a pipe, which has to be emptied.
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        base = f"http://127.0.0.1:{port}"
        asyncio.run(self._ask(base))  # the first questions map the file into memory
        self._seconds.clear()

        def run() -> Timing:
            start = time.perf_counter()
            self._seconds += asyncio.run(self._ask(base))
            seconds = time.perf_counter() - start
            if platform.system() == "Linux":
                self._resident = resident_of(process.pid)
            return Timing(seconds / (self.clients * self._requests))

        def close() -> None:
            process.terminate()
            process.wait()
            drain.wait()

        return Prepared(run, result=lambda: None, close=close, probed=False)

    async def _ask(self, base: str) -> list[float]:
        """Seconds of each request."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def client(number: int) -> list[float]:
                times = []
                for turn in range(self._requests):
                    user = self._users[(number * self._requests + turn) % len(self._users)]
                    address = f"{base}/users/{quote(user, safe='')}/recommendations?k={self._k}"
                    start = time.perf_counter()
                    async with session.get(address) as answer:
                        answer.raise_for_status()
                        await answer.read()
                    times.append(time.perf_counter() - start)
                return times

            parts = await asyncio.gather(*(client(number) for number in range(self.clients)))
        return [seconds for part in parts for seconds in part]

    def figures(self) -> dict[str, float | int | None]:
        """Quantiles of the seconds of all requests, and bytes of the service at the end."""
        cuts = statistics.quantiles(self._seconds, n=100, method="inclusive")
        resident, private = self._resident or (None, None)
        return {
            "requests": len(self._seconds),
            "p50_seconds": cuts[49],
            "p99_seconds": cuts[98],
            "resident_bytes": resident,
            "private_bytes": private,
        }

    def remarks(self) -> list[str]:
        """The figures in words."""
        cuts = statistics.quantiles(self._seconds, n=100, method="inclusive")
        p50, p99 = readable_seconds(cuts[49]), readable_seconds(cuts[98])
        lines = [f"{len(self._seconds):,} requests: p50 {p50}, p99 {p99}"]
        if self._resident is not None:
            resident, private = map(readable_bytes, self._resident)
            lines.append(
                f"the service has {resident} resident, {private} of them its own; the rest are "
                "files of libraries and of the export, which workers share"
            )
        return lines
