"""Run an encoder over items, shard by shard, and put each vector into the row of its item.

Shapes: S rows of a shard, b inputs of a batch, d feature size.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from feature_extraction.encoders.encoder import Encoder
from feature_extraction.encoders.preparation import Batch, Failure, Job, Preparation, Prepared
from feature_extraction.encoders.spec import EncoderSpec
from feature_extraction.errors import FeatureError
from feature_extraction.extraction.extraction_config import ExtractionConfig
from feature_extraction.extraction.heap import reused_memory
from feature_extraction.items.inputs import Item, ItemSource
from feature_extraction.stores.partial import Outcome, PartialStore


def encode_shards(
    source: ItemSource,
    ids: Sequence[str],
    spec: EncoderSpec,
    encoder: Encoder,
    partial_store: PartialStore,
    shards: Collection[int],
    config: ExtractionConfig,
    advance: Callable[[float], None],
) -> None:
    """Encode some shards and write each as soon as it is whole.

    Args:
        source: All items.
        ids: Their ids, as an earlier pass found them.
        spec: The encoder's spec.
        encoder: The encoder.
        partial_store: Where the shards go.
        shards: Which of them.
        config: How to compute.
        advance: Called with the number of items that were encoded since the last call.

    Raises:
        FeatureError: The items are no longer those of the earlier pass, the device's memory is
            too small, a worker died, or ``config.strict`` and an input cannot be used.
    """
    wanted = set(shards)
    name = encoder.reads.name
    inputs = 0 if encoder.whole_shards else max(1, config.batch_size // encoder.pieces)
    jobs = _jobs(source, ids, partial_store, wanted, name, inputs)
    prepare = encoder.preparation(source.files(name), config.batch_size)
    workers = config.workers_for(sum(map(partial_store.size, wanted)))
    vectors: _ShardVectors | None = None
    on_cpu = encoder.device.type == "cpu"
    with reused_memory() if on_cpu else nullcontext():
        for prepared in _prepared(jobs, prepare, workers, pinned=encoder.device.type == "cuda"):
            if config.strict and prepared.failures:
                raise _stopped(prepared.failures[0])
            if vectors is None:
                vectors = _ShardVectors(partial_store.size(prepared.shard), encoder)
            vectors.take(prepared, config.batch_size, advance)
            if prepared.is_last:
                _write(partial_store, prepared.shard, vectors, ids, np.dtype(spec.dtype), config)
                vectors = None


class _ShardVectors:
    """Sums of the vectors of each item of a shard, on the encoder's device.

    Nothing is copied to the CPU before the shard is whole, so that a GPU never waits.
    """

    def __init__(self, rows: int, encoder: Encoder) -> None:
        self._encoder = encoder
        self._sums = torch.zeros(rows, encoder.dim, device=encoder.device)
        self._counts = torch.zeros(rows, device=encoder.device)
        self.failures: list[Failure] = []
        self.long = 0

    @torch.inference_mode()
    def take(self, prepared: Prepared, batch_size: int, advance: Callable[[float], None]) -> None:
        """Encode the batches of a job."""
        self.failures += prepared.failures
        self.long += prepared.long
        inputs = sum(len(batch.rows) for batch in prepared.batches)
        for batch in prepared.batches:
            vectors = self._encode(batch, batch_size)
            rows = torch.tensor(batch.rows, device=vectors.device)
            self._sums.index_add_(0, rows, vectors)
            self._counts.index_add_(0, rows, torch.ones(len(rows), device=vectors.device))
            advance(prepared.size * len(batch.rows) / inputs)
        if not inputs:
            advance(prepared.size)

    def whole(self) -> tuple[Tensor, Tensor]:
        """Return the vectors float32 ``[S, d]`` and which rows have one, bool ``[S]``."""
        means = self._sums / self._counts.clamp(min=1).unsqueeze(1)
        return self._encoder.finish(means).cpu(), self._counts.cpu() > 0

    def _encode(self, batch: Batch, batch_size: int) -> Tensor:
        try:
            vectors = self._encoder(batch.inputs)
        except torch.OutOfMemoryError as error:
            raise FeatureError(
                f"{self._encoder.device} has too little memory for a batch of {batch_size}",
                expected="a batch that fits",
                fix="lower the batch size",
            ) from error
        expected = (len(batch.rows), self._encoder.dim)
        if vectors.shape != expected:
            raise FeatureError(
                f"{type(self._encoder).__name__}.encode gives {tuple(vectors.shape)}",
                expected=f"{expected}: a vector of size dim for each input of the batch",
                fix="mend encode, or the dim that load sets",
            )
        return vectors


def _write(
    partial_store: PartialStore,
    shard: int,
    vectors: _ShardVectors,
    ids: Sequence[str],
    dtype: np.dtype[np.floating[Any]],
    config: ExtractionConfig,
) -> None:
    """Write a shard; vectors that are not finite in the stored type are failures."""
    own = ids[partial_store.start(shard) : partial_store.start(shard) + partial_store.size(shard)]
    values, counted = (tensor.numpy() for tensor in vectors.whole())
    with np.errstate(over="ignore"):  # what does not fit becomes infinite
        features = values.astype(dtype)
    present = counted & np.isfinite(features).all(axis=1)
    features[~present] = 0
    reason = f"the encoder gives values that are not finite in {dtype}"
    broken = [Failure(own[row], "", reason) for row in np.flatnonzero(counted & ~present).tolist()]
    if config.strict and broken:
        raise _stopped(broken[0])
    failures = [*vectors.failures, *broken]
    without = {own[row] for row in np.flatnonzero(~present).tolist()}
    failed = len(without & {failure.item for failure in failures})
    partial_store.write(shard, features, present, Outcome(failures, failed, vectors.long))


def _jobs(
    source: ItemSource,
    ids: Sequence[str],
    partial_store: PartialStore,
    wanted: set[int],
    name: str,
    inputs: int,
) -> Iterator[Job]:
    """Cut the wanted shards into jobs of so many inputs called `name`, or whole shards if 0."""
    items = _checked(source, ids)
    for shard in range(max(wanted, default=-1) + 1):
        own = islice(items, partial_store.size(shard))
        if shard not in wanted:
            for _ in own:
                pass
            continue
        job: list[tuple[int, Item]] = []
        count = 0
        for row, item in enumerate(own):
            job.append((row, item))
            count += len(item.inputs.get(name, ()))
            if inputs and max(count, len(job)) >= inputs and row + 1 < partial_store.size(shard):
                yield Job(shard, False, job)
                job, count = [], 0
        yield Job(shard, True, job)


def _checked(source: ItemSource, ids: Sequence[str]) -> Iterator[Item]:
    items = iter(source)
    for known in ids:
        item = next(items, None)
        if item is None or item.id != known:
            raise FeatureError(
                f"item {known!r} is no longer in its place",
                expected="items that stay the same while features are extracted",
                fix="run again, once nothing writes to the table any more",
            )
        yield item


def _prepared(
    jobs: Iterable[Job], prepare: Preparation, workers: int, *, pinned: bool
) -> Iterator[Prepared]:
    """Prepare the jobs in order, in worker processes where there are any."""
    loader = DataLoader(
        _Prepare(prepare),
        sampler=_Streamed(jobs),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pinned,
        generator=torch.Generator(),  # the caller's random state stays as it is
    )
    try:
        with _quiet_forks(workers):
            for prepared in loader:
                if isinstance(prepared, FeatureError):
                    raise prepared
                yield prepared
    except RuntimeError as error:
        if "DataLoader worker (pid" not in str(error):
            raise
        raise FeatureError(
            f"a worker process died ({str(error).splitlines()[0]})",
            expected="enough memory, also in /dev/shm, for the workers",
            fix="run again with fewer workers (--workers 0: none); finished shards are kept",
        ) from error


class _Prepare(Dataset[Prepared | FeatureError]):
    """Prepares jobs in the workers of a loader, which get them in place of indices.

    An error is returned, not raised: a loader raises an error of a worker anew, from its text
    alone.
    """

    def __init__(self, prepare: Preparation) -> None:
        self._prepare = prepare

    def __getitem__(self, job: Job) -> Prepared | FeatureError:
        try:
            return self._prepare(job)
        except FeatureError as error:
            return error


class _Streamed(Sampler[Job]):
    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = jobs

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)


def _as_it_is(prepared: Any) -> Any:
    return prepared


@contextmanager
def _quiet_forks(workers: int) -> Iterator[None]:
    """Keeps tokenizers from starting threads in forked workers, and from a warning in each."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    if workers and before is None:
        os.environ[name] = "false"
    try:
        yield
    finally:
        if workers and before is None:
            del os.environ[name]


def _stopped(failure: Failure) -> FeatureError:
    where = f" ({failure.file})" if failure.file else ""
    return FeatureError(
        f"item {failure.item!r}{where}: {failure.reason}",
        expected="inputs that can all be used, as --strict asks for",
        fix="mend it, or run without --strict: it is then masked and reported",
    )
