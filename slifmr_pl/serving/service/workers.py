"""Several processes that answer from one port."""

import os
import signal

from uvicorn import Config
from uvicorn.supervisors import Multiprocess


class Workers(Multiprocess):
    """uvicorn's processes, but for SIGHUP: each loads the export anew and goes on.

    uvicorn would replace them, and close connections that are open between two requests.
    """

    def handle_hup(self) -> None:
        """Passes the signal on."""
        for process in self.processes:
            if process.pid is not None and process.process.is_alive():
                os.kill(process.pid, signal.SIGHUP)


def run_workers(config: Config) -> None:
    """Serves with as many processes as the configuration says, until they are stopped."""
    Workers(config, sockets=[config.bind_socket()]).run()
