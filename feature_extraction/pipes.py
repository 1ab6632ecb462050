"""What a program prints into a pipe that nobody reads any more, as in ``… | head``."""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STATUS = 141
"""Exit status of a program that a closed pipe has ended, as a shell counts it."""


@contextmanager
def ends_quietly() -> Iterator[None]:
    """End what is inside without a traceback where the reader of standard output is gone.

    A closed pipe between processes is an error as ever.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_unread():
            raise
        # The interpreter flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_unread() -> bool:
    """Whether standard output is a pipe whose other end is closed."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # no such call, or no such file
        return False
