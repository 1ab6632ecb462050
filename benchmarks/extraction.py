"""Feature extraction against the bare forward pass on the same, ready batches.

`ours` reads and decodes pictures or cleans and tokenises texts, encodes, and writes shards to
disk. Models have the sizes of CLIP ViT-B/32's image tower and of MiniLM, and drawn weights.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from benchmarks.harness import Report, Variant, compare
from benchmarks.settings import Settings
from feature_extraction import Encoder, EncoderSpec, ExtractionConfig, ItemInputs
from feature_extraction.encoders.devices import load_encoder
from feature_extraction.encoders.loading import quiet_weights
from feature_extraction.encoders.model_files import identify
from feature_extraction.encoders.preparation import Batch, Job
from feature_extraction.extraction.encoding import encode_shards
from feature_extraction.extraction.heap import reused_memory
from feature_extraction.stores.partial import PartialStore

BATCH = 32
IMAGES, TEXTS = 64, 192
WORDS = 2_000


def benchmark(settings: Settings) -> Iterator[Report]:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        pictures = picture_items(root / "pictures", settings.scaled(IMAGES, quick=6))
        model = save_vision_model(root / "vit", quick=settings.quick)
        yield compared(EncoderSpec("vit", str(model)), pictures, settings)
        texts = text_items(settings.scaled(TEXTS, quick=20))
        model = save_text_model(root / "bert", quick=settings.quick)
        yield compared(EncoderSpec("bert", str(model)), texts, settings)


def compared(spec: EncoderSpec, items: ItemInputs, settings: Settings) -> Report:
    encoder = load_encoder(spec, identify(spec), settings.device)
    batches = prepared(encoder, items)

    config = ExtractionConfig(batch_size=BATCH)
    size = len(items.ids)
    return compare(
        f"Features of {size:,} {spec.reads.name}s, batches of {BATCH}",
        [
            Variant(
                "ours",
                lambda: lambda: extracted(items, spec, encoder, config),
                units=size,
                note=f"{config.workers_for(size)} workers",
            ),
            Variant(
                "bare forward",
                lambda: lambda: kept(bare, encoder, batches, size),
                units=size,
                kind="limit",
                note="batches ready in memory, nothing written, freed memory kept",
            ),
        ],
        settings,
    )


def extracted(
    items: ItemInputs, spec: EncoderSpec, encoder: Encoder, config: ExtractionConfig
) -> Tensor:
    """Features float32 [n, d], written to disk and read again."""
    with TemporaryDirectory() as folder:
        partial_store = PartialStore(Path(folder), len(items.ids), encoder.dim, spec.dtype)
        shards = partial_store.missing()
        encode_shards(
            items, items.ids, spec, encoder, partial_store, shards, config, lambda count: None
        )
        return torch.from_numpy(np.load(partial_store.folder / "features.npy", allow_pickle=False))


def prepared(encoder: Encoder, items: ItemInputs) -> list[Batch]:
    """All batches, as extraction would make them."""
    job = Job(0, True, list(enumerate(items)))
    return encoder.preparation(items.files(encoder.reads.name), BATCH)(job).batches


def kept(work: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Does work as extraction does: memory that it frees is kept."""
    with reused_memory():
        return work(*arguments)


def bare(encoder: Encoder, batches: list[Batch], size: int) -> Tensor:
    """Features float32 [n, d]."""
    vectors = torch.empty(size, encoder.dim)
    for batch in batches:
        vectors[batch.rows] = encoder(batch.inputs).cpu()
    return vectors


def picture_items(folder: Path, count: int) -> ItemInputs:
    """JPEG files of 500 by 400 pixels, as shops have them."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(count)]
    for name in names:
        coarse = Image.fromarray(rng.integers(0, 256, (8, 10, 3), dtype=np.uint8))
        coarse.resize((500, 400), Image.Resampling.BICUBIC).save(folder / name, quality=90)
    return ItemInputs(names, images=names, image_root=folder)


def text_items(count: int) -> ItemInputs:
    """Texts of 3 to 120 words, most of them short."""
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(3, 0.7, count).clip(3, 120).astype(int)
    texts = [" ".join(f"w{word}" for word in rng.integers(0, WORDS, length)) for length in lengths]
    return ItemInputs([str(number) for number in range(count)], texts=texts)


def save_vision_model(folder: Path, *, quick: bool) -> Path:
    config = ViTConfig(
        patch_size=32, hidden_size=24 if quick else 768, num_hidden_layers=1 if quick else 12
    )
    with quiet_weights():
        ViTModel(config).save_pretrained(folder)
    ViTImageProcessorPil().save_pretrained(folder)
    return folder


def save_text_model(folder: Path, *, quick: bool) -> Path:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(f"w{word}" for word in range(WORDS))]
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=24 if quick else 384,
        num_hidden_layers=1 if quick else 6,
        num_attention_heads=12,
        intermediate_size=32 if quick else 1536,
    )
    with quiet_weights():
        BertModel(config).save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate(words)})
    tokenizer.save_pretrained(folder)
    return folder
