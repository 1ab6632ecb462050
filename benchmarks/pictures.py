"""A folder of real pictures through a real model: speed, memory, what decoding takes, failures.

`python -m benchmarks pictures --data FOLDER --encoder FOLDER` reads the pictures of one folder and
a model folder of the kind `image`; without them, pictures are drawn and the model's weights, too.
"""

import dataclasses
import resource
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.extraction import (
    BATCH,
    bare,
    extracted,
    kept,
    picture_items,
    prepared,
    save_vision_model,
)
from benchmarks.harness import Report, Variant, compare
from benchmarks.probes import resident_peak, restart_peak
from benchmarks.settings import Settings
from feature_extraction import EncoderSpec, ExtractionConfig, ItemInputs
from feature_extraction.encoders.devices import load_encoder
from feature_extraction.encoders.encoder import Encoder
from feature_extraction.encoders.model_files import identify
from feature_extraction.items.images import ImageModality

PICTURES = 96
GROWTH = 4  # times as many pictures, to see whether memory grows


def benchmark(settings: Settings) -> Iterator[Report]:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        size = settings.scaled(PICTURES, quick=6)
        if settings.data is None:
            everything = picture_items(root / "pictures", GROWTH * size)
        else:
            everything = items_of(settings.data)
        model = settings.encoder or save_vision_model(root / "vit", quick=settings.quick)
        spec = EncoderSpec("image", str(model))
        encoder = load_encoder(spec, identify(spec), settings.device)
        config = ExtractionConfig(batch_size=BATCH, progress=False)
        report = speed(first(everything, size), spec, encoder, config, settings)
        small, large = (
            peak_of(partial(extracted, first(everything, n), spec, encoder, config))
            for n in (size, GROWTH * size)
        )
        peaks = (
            f"peak extra memory of {size:,} pictures {small >> 20:,} MB, "
            f"of {GROWTH * size:,} {large >> 20:,} MB"
        )
        remarks = [*report.remarks, peaks]
        figures = {"peak of the first": small, "peak of all": large}
        yield dataclasses.replace(report, remarks=remarks, figures=figures)


def speed(
    items: ItemInputs,
    spec: EncoderSpec,
    encoder: Encoder,
    config: ExtractionConfig,
    settings: Settings,
) -> Report:
    """Extraction beside the bare forward pass, with and without the memory that is kept."""
    batches = prepared(encoder, items)
    size = sum(len(batch.rows) for batch in batches)
    used: dict[str, list[tuple[float, float]]] = {}  # seconds of CPU time, and in the kernel

    def timed(name: str, work: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            before = resource.getrusage(resource.RUSAGE_SELF)
            result = work()
            after = resource.getrusage(resource.RUSAGE_SELF)
            user, kernel = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
            used.setdefault(name, []).append((user + kernel, kernel))
            return result

        return run

    works: dict[str, Callable[[], Any]] = {
        "ours": lambda: extracted(items, spec, encoder, config),
        "bare forward, memory kept": lambda: kept(bare, encoder, batches, len(items.ids)),
        "bare forward": lambda: bare(encoder, batches, len(items.ids)),
        "decoding and scaling alone": lambda: prepared(encoder, items),
    }
    report = compare(
        f"Features of {size:,} pictures of {len(items.ids):,}, batches of {BATCH}",
        [
            Variant(
                name,
                partial(timed, name, work),
                units=size,
                kind="limit",
                compared=name.startswith("bare"),
            )
            for name, work in works.items()
        ],
        settings,
    )
    # What else runs on the machine changes the clock more than the CPU time.
    least = {name: min(found) for name, found in used.items()}
    remarks = [
        f"CPU time a picture, {name}: {1000 * total / size:.1f} ms, {kernel / total:.0%} of it in "
        f"the kernel, {total / least['ours'][0]:.2f} of ours"
        for name, (total, kernel) in least.items()
        if total
    ]
    return dataclasses.replace(report, remarks=remarks)


def items_of(folder: Path) -> ItemInputs:
    """All pictures of a folder, by name."""
    suffixes = ImageModality.suffixes
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in suffixes)
    return ItemInputs(names, images=names, image_root=folder)


def first(items: ItemInputs, count: int) -> ItemInputs:
    assert items.images is not None
    return dataclasses.replace(items, ids=items.ids[:count], images=items.images[:count])


def peak_of(work: Callable[[], Any]) -> int:
    """Bytes that work holds at its peak beyond what was held before it."""
    before = restart_peak()
    work()
    return resident_peak() - before
