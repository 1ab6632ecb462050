import platform
import resource

import pytest
import torch

from feature_extraction.extraction.heap import reused_memory

LARGE = 48 << 20  # bytes, more than the C library keeps by itself


def new_pages() -> int:
    """Pages that the system fills for three arrays, one after the other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        torch.empty(LARGE, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_used_again_and_given_back_at_the_end() -> None:
    usual = new_pages()
    with reused_memory():
        new_pages()
        assert new_pages() < usual / 10
        inside = resident()
    assert inside - resident() > LARGE / 2
    assert new_pages() > usual / 2


def test_memory_is_given_back_after_an_error() -> None:
    usual = new_pages()
    with pytest.raises(ZeroDivisionError), reused_memory():
        1 / 0  # noqa: B018
    assert new_pages() > usual / 2
