"""What happens to raw inputs before the model: on the CPU, and where wanted in workers.

Shapes: b inputs of a batch. An item may give several inputs: images, pieces of a text.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from feature_extraction.errors import FeatureError, InputError
from feature_extraction.items.input_files import Files
from feature_extraction.items.inputs import Item
from feature_extraction.items.raw_modality import RawModality

_Value = TypeVar("_Value")


class Failure(NamedTuple):
    """Why one input of an item gives no features; ``file`` is empty where there is no name."""

    item: str
    file: str
    reason: str


class Batch(NamedTuple):
    """Inputs that the model takes at once.

    Args:
        rows: b rows, of the items that the inputs belong to.
        inputs: What ``Encoder.encode`` takes, by name, each with b entries.
    """

    rows: list[int]
    inputs: dict[str, Any]


class Job(NamedTuple):
    """Consecutive items of one shard, with their rows in it."""

    shard: int
    is_last: bool
    items: list[tuple[int, Item]]


class Prepared(NamedTuple):
    """A job, ready for the model.

    Args:
        shard: As in the job.
        is_last: Whether it is the shard's last job.
        size: Items of the job.
        batches: Their inputs.
        failures: Inputs that cannot be used.
        long: Inputs that are longer than the encoder takes, such as texts of too many tokens.
    """

    shard: int
    is_last: bool
    size: int
    batches: list[Batch]
    failures: list[Failure]
    long: int


class Preparation(Protocol):
    """Turns the items of a job into batches; pickled where workers do it."""

    def __call__(self, job: Job) -> Prepared:
        """Prepare a job."""


@dataclass(frozen=True)
class InputPreparation:
    """Reads inputs one by one, transforms each, and puts them into batches in their order.

    Args:
        reads: Their raw modality.
        files: Where its files are.
        transform: Turns a decoded input into arrays by name.
        collate: Puts those of several inputs into one batch.
        batch_size: Largest b.
    """

    reads: RawModality
    files: Files
    transform: Callable[[Any], Mapping[str, Any]]
    collate: Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]
    batch_size: int

    def __call__(self, job: Job) -> Prepared:
        """Prepare the inputs of a job."""
        prepared: list[tuple[int, Mapping[str, Any]]] = []
        failures = []
        for row, item in job.items:
            for raw in item.inputs.get(self.reads.name, ()):
                try:
                    prepared.append((row, self.one(raw)))
                except InputError as error:
                    name = self.reads.file_name(raw)
                    failures.append(Failure(item.id, name, str(error)))
        batches = [
            Batch([row for row, _ in part], self._collated([values for _, values in part]))
            for part in parts_of(prepared, self.batch_size)
        ]
        return Prepared(job.shard, job.is_last, len(job.items), batches, failures, 0)

    def one(self, raw: Any) -> Mapping[str, Any]:
        """Read and transform one input.

        Raises:
            InputError: It cannot be had, decoded or transformed.
        """
        return self.transform(self.reads.read(raw, self.files))

    def _collated(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        try:
            return self.collate(inputs)
        except (ValueError, RuntimeError, KeyError, TypeError) as error:
            raise FeatureError(
                f"inputs of a batch cannot be put together ({error})",
                expected="arrays of one shape by the same names for every input",
                fix="pad or cut them in the encoder's transform, or write its collate",
            ) from error


def as_values(value: Any) -> dict[str, Any]:
    """A decoded input under the name ``values``, as an array."""
    return {"values": np.asarray(value)}


def stack(inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stack arrays, tensors or numbers by name, ``[b, ...]`` each."""
    import torch

    return {name: torch.stack([torch.as_tensor(one[name]) for one in inputs]) for name in inputs[0]}


def parts_of(values: Sequence[_Value], size: int) -> Iterator[Sequence[_Value]]:
    """Cut a sequence into parts of so many values, the last of what is left."""
    return (values[start : start + size] for start in range(0, len(values), size))
