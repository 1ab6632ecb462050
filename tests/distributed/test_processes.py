import os

import pytest
import torch
from torch import Tensor

from slifmr_pl.distributed.processes import check_agreement, fingerprint, is_first_process
from slifmr_pl.errors import ProcessError
from tests.processes import in_process_group, in_processes


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(300, 7),
        torch.randn(1 << 17),  # more than one chunk
        torch.randint(-9, 9, (40, 3)),
        torch.randn(50).bfloat16(),
        torch.rand(20) > 0.5,
        torch.tensor(3.0),
    ],
    ids=lambda tensor: f"{tensor.dtype} {tuple(tensor.shape)}",
)
def test_fingerprint_sees_one_changed_entry_and_two_exchanged_ones(tensor: Tensor) -> None:
    number = fingerprint(tensor)
    assert number == fingerprint(tensor.clone())
    changed = tensor.clone()
    last = changed.view(-1)[-1:]
    last.copy_(~last if tensor.dtype == torch.bool else last + 1)
    assert fingerprint(changed) != number
    flat = tensor.flatten()
    if len(flat) > 1:
        first = int((flat != flat[-1]).nonzero()[0])
        flat = flat.clone()
        flat[[first, -1]] = flat[[-1, first]]
        assert fingerprint(flat) != number


def test_fingerprint_of_an_empty_tensor_is_zero_and_signs_of_zero_count() -> None:
    assert fingerprint(torch.empty(0, 4)) == 0
    assert fingerprint(torch.tensor([0.0])) != fingerprint(torch.tensor([-0.0]))


@pytest.mark.parametrize(
    ("launcher", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0"}, False),  # Lightning's own
        ({"NODE_RANK": "1"}, False),  # its start on a second machine
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),  # torchrun
        ({"RANK": "4", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "0"}, True),
        ({"SLURM_PROCID": "3"}, False),
    ],
    ids=str,
)
def test_one_process_of_each_launcher_is_the_first(
    monkeypatch: pytest.MonkeyPatch, launcher: dict[str, str], first: bool
) -> None:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, rank in launcher.items():
        monkeypatch.setenv(name, rank)
    assert is_first_process() is first


def messages() -> list[str]:
    rank = int(os.environ["RANK"])
    graph, weights = torch.arange(12).view(4, 3), torch.ones(2, 2)
    check_agreement({"graph": graph, "weights": weights})
    errors = []
    for corrupted in ((2,), (1, 2)):
        other = weights + 1e-6 * (rank in corrupted)
        with pytest.raises(ProcessError) as error:
            check_agreement({"graph": graph, "weights": other})
        errors.append(str(error.value))
    return errors


def test_every_process_learns_which_tensor_differs_on_which_ranks() -> None:
    results = in_processes(3, in_process_group, messages)
    assert all(result == results[0] for result in results)
    one, two = results[0]
    assert "weights on rank 2 unlike rank 0" in one
    assert "weights on ranks 1, 2 unlike rank 0" in two
    assert "graph" not in one
