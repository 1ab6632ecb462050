"""How long something takes, and how much of it is left, for a person to read."""

import threading
import time
from collections.abc import Callable


def clock(seconds: float) -> str:
    """A duration as minutes and seconds, with hours or days where it has some: `1:02:03`."""
    whole = max(0, round(seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    if hours < 1:
        return f"{minute}:{second:02}"
    days, hour = divmod(hours, 24)
    return f"{f'{days} d ' if days else ''}{hour}:{minute:02}:{second:02}"


class Countdown:
    """Counts what is done of several tasks of a kind, and estimates when the last one is.

    Tasks may end in any thread. Those that ended at once, since they had been done before, count as
    done and say nothing of how long a task takes.

    Args:
        total: Tasks.
        now: Reads the time in seconds.
        done: Tasks that are done already.
    """

    _AT_ONCE = 0.05  # seconds

    def __init__(
        self, total: int, now: Callable[[], float] = time.monotonic, *, done: int = 0
    ) -> None:
        self._total, self._now = total, now
        self._done, self._timed = done, 0
        self._start = now()
        self._idle = 0.0  # seconds until the first task that took time began
        self._lock = threading.Lock()

    def done(self) -> str:
        """Notes that a task has ended: `3/12, 0:40 left`; without a time where none is known."""
        with self._lock:
            self._done += 1
            spent = self._now() - self._start
            if self._timed or spent - self._idle > self._AT_ONCE:
                self._timed += 1
            else:
                self._idle = spent
            left = self._total - self._done
            text = f"{self._done}/{self._total}"
            if left and self._timed:
                text += f", {clock((spent - self._idle) / self._timed * left)} left"
            return text
