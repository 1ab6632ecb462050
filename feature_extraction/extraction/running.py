"""Encode all items on one device or on several, and say how far it is."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from feature_extraction.encoders.devices import load_encoder, resolve_device
from feature_extraction.encoders.encoder import Encoder, class_path, register_encoder
from feature_extraction.encoders.model_files import ModelFiles
from feature_extraction.encoders.spec import EncoderSpec
from feature_extraction.errors import FeatureError
from feature_extraction.extraction.encoding import encode_shards
from feature_extraction.extraction.extraction_config import ExtractionConfig
from feature_extraction.items.inputs import ItemSource
from feature_extraction.stores.partial import PartialStore

_POLL_SECONDS = 0.2


def encode_all(
    source: ItemSource,
    ids: Sequence[str],
    spec: EncoderSpec,
    files: ModelFiles,
    folder: Path,
    config: ExtractionConfig,
) -> tuple[PartialStore, Encoder]:
    """Encode the shards that a partial store lacks.

    Args:
        source: All items.
        ids: Their ids.
        spec: The encoder.
        files: What ``identify(spec)`` found.
        folder: The partial store's.
        config: How to compute.

    Returns:
        The complete partial store, and the encoder.

    Raises:
        FeatureError: The encoder or a device cannot be had, or see ``encode_shards``.
    """
    place, devices = resolve_device(config.device), config.devices
    _check_devices(place, devices)
    # With several devices this one only tells sizes; each process loads its own.
    encoder = load_encoder(spec, files, place if devices == 1 else torch.device("cpu"))
    partial_store = PartialStore(folder, len(ids), encoder.dim, spec.dtype)
    missing = partial_store.missing()
    rows = sum(map(partial_store.size, missing))
    with _progress(
        f"encoding {encoder.reads.name} inputs", len(ids), rows, config.progress
    ) as advance:
        if devices == 1:
            encode_shards(source, ids, spec, encoder, partial_store, missing, config, advance)
        elif missing:
            _require_importable(spec.cls)
            work = (source, ids, spec, files, folder, config, spec.cls)
            _encode_in_processes(work, missing, place, devices, advance)
    return partial_store, encoder


def _check_devices(place: torch.device, devices: int) -> None:
    most = torch.cuda.device_count() if place.type == "cuda" else os.cpu_count() or 1
    if devices > most:
        raise FeatureError(
            f"devices is {devices}",
            expected=f"at least 1 and at most {most}, the {place.type} devices or cores here",
            fix="choose a number in this range",
        )


def _require_importable(cls: type[Encoder]) -> None:
    """Refuses a class that another process cannot find."""
    if "<locals>" in cls.__qualname__:
        raise FeatureError(
            f"{class_path(cls)} is defined in a function, and there are several devices",
            expected="a class at the top of a module, which each process imports",
            fix="move the class to the top of its module, or use one device",
        )


def _encode_in_processes(
    work: tuple[Any, ...],
    missing: Sequence[int],
    place: torch.device,
    devices: int,
    advance: Callable[[float], None],
) -> None:
    context = multiprocessing.get_context("spawn")  # CUDA cannot be used in a forked process
    done, stop = context.Value("d", 0.0), context.Event()
    shares = [missing[rank::devices] for rank in range(devices)]
    with ProcessPoolExecutor(devices, context, _share_progress, (done, stop)) as pool:
        futures = [
            pool.submit(_encode_share, work, share, f"{place.type}:{rank}", devices)
            for rank, share in enumerate(shares)
            if share
        ]
        seen, open_ = 0.0, set(futures)
        while open_:
            finished, open_ = wait(open_, _POLL_SECONDS, FIRST_EXCEPTION)
            advance(done.value - seen)
            seen = done.value
            if any(future.exception() for future in finished):
                stop.set()
        for future in futures:
            _raise_first(future.exception())


def _raise_first(error: BaseException | None) -> None:
    if isinstance(error, BrokenProcessPool):
        raise FeatureError(
            "a process ended before its work",
            expected="processes that end by themselves; the system kills one where memory is short",
            fix="run again, with fewer devices or a smaller batch; finished shards are kept",
        ) from error
    if error is not None and not isinstance(error, _StoppedError):
        raise error


class _StoppedError(Exception):
    """Another process failed, so that this one need not go on."""


_shared: tuple[Any, Any] | None = None  # items done, and whether to stop; of a child process


def _share_progress(done: Any, stop: Any) -> None:
    global _shared  # noqa: PLW0603 (how a pool hands shared values to its processes)
    _shared = done, stop


def _encode_share(
    work: tuple[Any, ...], shards: Sequence[int], device: str, processes: int
) -> None:
    source, ids, spec, files, folder, config, cls = work
    assert _shared is not None
    done, stop = _shared
    if spec.kind != class_path(cls):
        register_encoder(spec.kind, cls)  # a short name that a plug-in gave is not known here
    place = torch.device("cpu") if device.startswith("cpu") else torch.device(device)
    if place.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    encoder = load_encoder(spec, files, place)
    partial_store = PartialStore(folder, len(ids), encoder.dim, spec.dtype)

    parent = os.getppid()

    def advance(count: float) -> None:
        # Without its parent it would write into what the next run takes for its own.
        if stop.is_set() or os.getppid() != parent:
            raise _StoppedError
        with done.get_lock():
            done.value += count

    encode_shards(source, ids, spec, encoder, partial_store, shards, config, advance)


@contextmanager
def _progress(
    what: str, items: int, missing: int, shown: bool
) -> Iterator[Callable[[float], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task(what, total=items, completed=items - missing)
        yield lambda count: bar.advance(task, count)
        bar.update(task, completed=items)  # shares of items need not add up to the last digit


class _RateColumn(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        """Draw the rate of a task; nothing before there is one."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} items/s")
