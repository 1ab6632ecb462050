"""The processes of a run: which is first, whether their models agree, whether one is lost."""

import os
from collections.abc import Mapping

import torch
from torch import Tensor

from slifmr_pl.errors import ProcessError

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
# Entries at a time, so that their int64 products stay in a cache.
_CHUNK = 1 << 16


def is_first_process() -> bool:
    """Whether this is rank 0 by the variables of launchers, before there is a trainer to ask."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(os.environ.get(rank, "0") == "0" for rank in ranks)


def fingerprint(tensor: Tensor) -> Tensor:
    """A number that depends on every bit of a tensor and on its place, int64 scalar.

    Overflowing integer sums are the same in any order of summation and on any device, so equal
    tensors give equal numbers.
    """
    bits = tensor.detach().contiguous().flatten().view(_INTEGERS[tensor.element_size()])
    places = torch.arange(1, min(_CHUNK, len(bits)) + 1, device=bits.device)
    total = torch.zeros((), dtype=torch.int64, device=bits.device)
    for chunk in bits.split(_CHUNK):
        total = 31 * total + (chunk * places[: len(chunk)]).sum()
    return total


def check_agreement(tensors: Mapping[str, Tensor]) -> None:
    """Compares tensors with those of the other processes, all of which have to call this too.

    Args:
        tensors: Those that should be equal in all processes, by name; on the group's device.

    Raises:
        ProcessError: On every process, if a tensor differs somewhere.
    """
    own = torch.stack([fingerprint(tensor) for tensor in tensors.values()])
    gathered = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(gathered, own)
    numbers = torch.stack(gathered).cpu()
    differing = [
        f"{name} on {_ranks(column != column[0])}"
        for name, column in zip(tensors, numbers.T, strict=True)
        if (column != column[0]).any()
    ]
    if differing:
        raise ProcessError(
            f"processes hold different values: {'; '.join(differing)} unlike rank 0",
            expected="the same model in every process at the end of an epoch",
            fix="resume from the last checkpoint, with the same hardware and library versions for "
            "every process, and with callbacks that change nothing on one of them alone",
        )


def lost_process(error: BaseException) -> ProcessError | None:
    """A readable error for one of the communication between processes; None for other errors."""
    # gloo raises a plain RuntimeError that begins with the file it is raised in.
    if not isinstance(error, torch.distributed.DistError) and "/gloo/" not in str(error):
        return None
    return ProcessError(
        f"another process of this run is gone or does not answer ({str(error).splitlines()[0]})",
        expected="all processes to live until the run ends",
        fix="look for the first error among their messages, or for one that ran out of memory; "
        "then resume from the last checkpoint",
    )


def _ranks(differ: Tensor) -> str:
    ranks = torch.nonzero(differ).flatten().tolist()
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"
