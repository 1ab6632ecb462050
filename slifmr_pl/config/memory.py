"""Whether what is to be computed fits into the memory of this machine, asked beforehand."""

from collections.abc import Iterator
from pathlib import Path

from slifmr_pl.errors import ConfigError

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def require_memory(what: str, needed: int, fix: str) -> None:
    """Refuses what would end in an error of the allocator, or be killed.

    Args:
        what: What is to be computed, with its size.
        needed: Bytes that it holds at a time.
        fix: What to do instead.

    Raises:
        ConfigError: If the memory that is free is less.
    """
    free = available_memory()
    if free is not None and needed > free:
        raise ConfigError(
            f"{what} needs {_gigabytes(needed)} of memory, and {_gigabytes(free)} are free",
            expected="a computation that fits into memory",
            fix=fix,
        )


def available_memory() -> int | None:
    """Bytes that this process may still take: the machine's, its container's or its own limit.

    None where the system does not say.
    """
    return min((max(0, free) for free in _limits()), default=None)


def _limits() -> Iterator[int]:
    yield from (kilobytes << 10 for kilobytes in _fields(_PROC / "meminfo", "MemAvailable"))
    for limit, used in (
        (_CGROUP / "memory.max", _CGROUP / "memory.current"),
        (_CGROUP / "memory/memory.limit_in_bytes", _CGROUP / "memory/memory.usage_in_bytes"),
    ):
        numbers = [number for file in (limit, used) for number in _numbers(file)]
        if len(numbers) == 2:  # there is no number where there is no limit
            names = ("active_file", "inactive_file")  # copies of files, which make room
            yield numbers[0] - numbers[1] + sum(_fields(limit.parent / "memory.stat", *names))
    try:
        import resource
    except ImportError:  # Windows
        return
    own, _ = resource.getrlimit(resource.RLIMIT_AS)
    if own != resource.RLIM_INFINITY:
        yield own - sum(kilobytes << 10 for kilobytes in _fields(_PROC / "self/status", "VmSize"))


def _numbers(file: Path) -> Iterator[int]:
    try:
        text = file.read_text().strip()
    except OSError:
        return
    if text.isdigit():
        yield int(text)


def _fields(file: Path, *names: str) -> Iterator[int]:
    """Numbers of the lines `NAME: NUMBER` or `NAME NUMBER` with these names."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        words = line.replace(":", " ").split()
        if len(words) > 1 and words[0] in names and words[1].isdigit():
            yield int(words[1])


def _gigabytes(size: int) -> str:
    number = size / 1e9
    return f"{number:,.0f} GB" if number >= 10 else f"{number:.2g} GB"
