"""The export that is served, and its replacement while requests go on."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from slifmr_pl.errors import UserFacingError
from slifmr_pl.serving.service.observation import Metrics, log
from slifmr_pl.serving.service.served_export import ServedExport


class CurrentExport:
    """Holds an export. Whoever has taken it keeps it, whatever is loaded meanwhile.

    Args:
        folder: Of the export, or a link to it, which may point elsewhere at the next load.
        metrics: What counts loads.

    Attributes:
        served: The export; a request reads it once.

    Raises:
        DataError: If the folder holds no whole export.
    """

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self._folder, self._metrics = folder, metrics
        self._one_at_a_time = threading.Lock()
        self._take(ServedExport(folder))

    def _take(self, export: ServedExport) -> None:
        self.served = export
        self._metrics.loaded.set(export.loaded_at.timestamp())

    def reload(self) -> None:
        """Loads the folder anew; where that fails, says so and goes on with what there is."""
        with self._one_at_a_time:
            try:
                self._take(ServedExport(self._folder))
            except (UserFacingError, OSError) as error:
                self._metrics.reloads.labels("failed").inc()
                log.error("The export %s stays, no other is loaded: %s", self.served.version, error)
            else:
                self._metrics.reloads.labels("loaded").inc()
                log.info("The export %s is loaded.", self.served.version)

    @asynccontextmanager
    async def reloading_on_hangup(self) -> AsyncIterator[None]:
        """Reloads at each SIGHUP to this process, beside the requests."""
        loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()

        def begin() -> None:
            task = asyncio.create_task(asyncio.to_thread(self.reload))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        loop.add_signal_handler(signal.SIGHUP, begin)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
