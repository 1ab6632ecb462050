"""Keeps memory that torch frees on a CPU for what it asks for next.

The C library of Linux hands every array of more than 32 MB back to the system as soon as it is
free, and the system fills it with zeros again, page by page, when the next layer asks for one. For
a model of pictures that takes longer than to compute.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Of `mallopt`: above which size memory is taken from the system on its own, and how much free
# memory at the end of the heap is kept.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_KEPT = (1 << 30, (1 << 31) - 1)
_USUAL = (32 << 20, 64 << 20)  # what the library's own thresholds grow to


@contextmanager
def reused_memory() -> Iterator[None]:
    """Within it freed memory is kept; after it, all of it is given back.

    Where the C library is not glibc, nothing is changed.
    """
    library = _glibc()
    if library is None:
        yield
        return
    _set(library, _KEPT)
    try:
        yield
    finally:
        _set(library, _USUAL)
        library.malloc_trim(0)


def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def _set(library: Any, sizes: tuple[int, int]) -> None:
    library.mallopt(_MMAP_THRESHOLD, sizes[0])
    library.mallopt(_TRIM_THRESHOLD, sizes[1])
