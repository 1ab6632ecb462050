"""Encode a few texts or images with an encoder and nothing around it."""

import io
from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from feature_extraction import Encoder, EncoderSpec, Item
from feature_extraction.encoders.devices import load_encoder
from feature_extraction.encoders.model_files import identify
from feature_extraction.encoders.preparation import InputPreparation, Job, Prepared, stack
from feature_extraction.items.input_files import open_files

CPU = torch.device("cpu")


def load(spec: EncoderSpec) -> Encoder:
    return load_encoder(spec, identify(spec), CPU)


def prepared(encoder: Encoder, items: Sequence[Item], batch_size: int = 64) -> Prepared:
    job = Job(0, True, list(enumerate(items)))
    return encoder.preparation(open_files([], encoder.reads.name), batch_size)(job)


def encoded(encoder: Encoder, items: Sequence[Item]) -> Tensor:
    """`[n, d]` of items that have one input each."""
    (batch,) = prepared(encoder, items).batches
    vectors = torch.empty(len(items), encoder.dim)
    vectors[batch.rows] = encoder(batch.inputs)
    return encoder.finish(vectors)


def encoded_texts(spec: EncoderSpec, texts: Sequence[str]) -> Tensor:
    return encoded(load(spec), [Item(text, text) for text in texts])


def one_of(encoder: Encoder, image: Image.Image) -> Mapping[str, torch.Tensor]:
    file = io.BytesIO()
    image.save(file, format="PNG")
    preparation = encoder.preparation(open_files([], "image"), 1)
    assert isinstance(preparation, InputPreparation)
    return preparation.one(file.getvalue())


def pixels_of(encoder: Encoder, image: Image.Image) -> dict[str, torch.Tensor]:
    return stack([one_of(encoder, image)])
