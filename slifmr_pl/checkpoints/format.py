"""Checkpoints as files: plain types and tensors only, never unpickled objects."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slifmr_pl.config import plugins
from slifmr_pl.config.parts import class_path
from slifmr_pl.errors import CheckpointError

STATE_KEY = "slifmr"
FORMAT_VERSION = 6  # 6: the class of the model, and plug-ins


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads a checkpoint that this package wrote, with `weights_only=True`.

    Args:
        path: File.
        map_location: Where tensors go, as in `torch.load`.

    Raises:
        CheckpointError: If the file is absent, damaged, or not a checkpoint of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            "there is no such checkpoint",
            expected="a .ckpt file that `fit` wrote",
            fix="take the path that `fit` printed at its end, or look into the run's checkpoints/",
            path=path,
        )
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file makes of the reader
        raise CheckpointError(
            f"the checkpoint cannot be read ({type(error).__name__})",
            expected="a whole file of plain types and tensors, as `fit` writes it",
            fix="use another checkpoint of the run; this one is truncated, foreign or altered",
            path=path,
        ) from error
    check_checkpoint(checkpoint, path)
    absent = [
        key
        for key in ("hyper_parameters", "state_dict")
        if not isinstance(checkpoint.get(key), Mapping)
    ]
    if absent:
        raise CheckpointError(
            f"the checkpoint has no entry {' and '.join(map(repr, absent))}",
            expected="settings and weights, as `fit` writes them",
            fix="use another checkpoint of the run; this one was altered",
            path=path,
        )
    result: dict[str, Any] = checkpoint
    return result


def check_checkpoint(checkpoint: Any, path: str | Path | None = None) -> None:
    """Refuses what this package did not write, or wrote in another format.

    Raises:
        CheckpointError: If it is foreign, or of another format.
    """
    state = checkpoint.get(STATE_KEY) if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping):
        raise CheckpointError(
            f"the checkpoint has no entry {STATE_KEY!r}",
            expected="a checkpoint of this package",
            fix="take a .ckpt file that `fit` of this package wrote",
            path=path,
        )
    if state.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"the checkpoint has format version {state.get('format_version')}",
            expected=f"version {FORMAT_VERSION}",
            fix="use the version of slifmr_pl that wrote it, or train again: "
            "fit --config RUN/config.yaml",
            path=path,
        )
    if not isinstance(state.get("model"), str):
        raise CheckpointError(
            "the checkpoint does not name its model",
            expected="the class of the model, as `fit` writes it",
            fix="use another checkpoint of the run; this one was altered",
            path=path,
        )


def new_state(model: type) -> dict[str, Any]:
    """The beginning of this package's entry: its format, the model's class, and all plug-ins."""
    return {
        "format_version": FORMAT_VERSION,
        "model": class_path(model),
        "plugins": plugins.loaded(),
    }


def random_state(device: torch.device) -> Tensor:
    """State of torch's own random numbers, uint8 [n]: the CPU's, then that of a CUDA device."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)


def restore_random_state(state: Tensor, device: torch.device) -> None:
    """Makes torch's random numbers go on where `random_state` was taken.

    Without an effect on a device that the state was not taken on.
    """
    size = len(torch.get_rng_state())
    torch.set_rng_state(state[:size])
    if device.type == "cuda" and len(state) > size:
        torch.cuda.set_rng_state(state[size:], device)
