"""Clocks and gauges: time of a call, peak memory of a call, bandwidth of the machine."""

import ctypes
import gc
import platform
import statistics
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.settings import Settings

COPY_BYTES = 256 << 20


def synchronise(device: torch.device) -> None:
    """Waits for what was queued on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(call: Callable[[], Any], calls: int, device: torch.device) -> float:
    """Seconds of one call, as the mean over `calls` of them in a row."""
    synchronise(device)
    start = time.perf_counter()
    for _ in range(calls):
        call()
    synchronise(device)
    return (time.perf_counter() - start) / calls


def peak_memory(call: Callable[[], Any], device: torch.device) -> int | None:
    """Bytes that one call holds at its peak beyond what was held before it.

    On a GPU these are the allocator's bytes. On Linux they are resident pages: the kernel's own
    high-water mark, which misses nothing. None elsewhere.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    if platform.system() != "Linux":
        call()
        return None
    before = restart_peak()
    call()
    return resident_peak() - before


def resident_peak() -> int:
    """Most bytes of this process that were resident since `restart_peak` (on Linux)."""
    return _status("VmHWM")


def restart_peak() -> int:
    """Lets `resident_peak` start anew (on Linux); returns the bytes that are resident now."""
    # What the C library keeps of freed memory would hide what is taken from it again.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    return _status("VmRSS")


def resident_of(pid: int) -> tuple[int, int]:
    """Resident bytes of another process (on Linux): all, and those that it shares with none."""
    return _status("VmRSS", pid), _status("RssAnon", pid)


def _status(field: str, pid: int | str = "self") -> int:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"/proc/{pid}/status has no {field}")


@cache
def copy_bandwidth(device: torch.device, threads: int) -> float:
    """Bytes a second that copying a large array reads and writes, with that many threads."""
    del threads  # part of the key: the caller has set them
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    times = [seconds_of(lambda: target.copy_(source), 1, device) for _ in range(9)]
    return 2 * COPY_BYTES / statistics.median(times[2:])


def bandwidth(settings: Settings) -> float:
    """`copy_bandwidth` of the run; a nominal 10 GB/s in a quick one."""
    return 1e10 if settings.quick else copy_bandwidth(settings.device, settings.threads)
