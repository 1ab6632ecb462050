"""Checkpoints as files: plain types and tensors only, never unpickled objects."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from slifmr_pl.errors import CheckpointError

STATE_KEY = "slifmr"
FORMAT_VERSION = 2
# What torch.load raises on files that are truncated, foreign, or hold more than plain types.
_UNREADABLE = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    pickle.UnpicklingError,
)


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
    except _UNREADABLE as error:
        raise CheckpointError(
            f"the checkpoint cannot be read ({type(error).__name__})",
            expected="a whole file of plain types and tensors, as `fit` writes it",
            fix="use another checkpoint of the run; this one is truncated, foreign or altered",
            path=path,
        ) from error
    check_checkpoint(checkpoint, path)
    absent = [key for key in ("hyper_parameters", "state_dict") if key not in checkpoint]
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
        CheckpointError: If so.
    """
    state = checkpoint.get(STATE_KEY) if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping):
        raise CheckpointError(
            f"the checkpoint has no entry {STATE_KEY!r}",
            expected="a checkpoint of SlifMrModule",
            fix="take a .ckpt file that `fit` of this package wrote",
            path=path,
        )
    if state.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"the checkpoint has format version {state.get('format_version')}",
            expected=f"version {FORMAT_VERSION}",
            fix="use the version of slifmr_pl that wrote it, or train again",
            path=path,
        )


def check_fingerprint(found: str, expected: str) -> None:
    """Refuses a checkpoint of other data.

    Args:
        found: Fingerprint of the data at hand.
        expected: Fingerprint in the checkpoint.

    Raises:
        CheckpointError: If they differ.
    """
    if found != expected:
        raise CheckpointError(
            f"the data has fingerprint {found[:12]}, the checkpoint was trained on {expected[:12]}",
            expected="the same interactions, split, items, features and knowledge graph",
            fix="give the `data` configuration of the checkpoint's run (its config.yaml), "
            "or train again without --ckpt_path",
        )
