"""Tiny models of many architectures with drawn weights, saved as the hub has them."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AlignConfig,
    AlignModel,
    AutoTokenizer,
    ChineseCLIPConfig,
    ChineseCLIPImageProcessorPil,
    ChineseCLIPModel,
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    EfficientNetConfig,
    EfficientNetImageProcessorPil,
    EfficientNetModel,
    MobileNetV2Config,
    MobileNetV2Model,
    ResNetConfig,
    ResNetModel,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SwinConfig,
    SwinModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTMAEConfig,
    ViTMAEModel,
    ViTModel,
)

from tests.feature_extraction.conftest import IMAGE_SIDE, LAYERS

SIZE = {"height": IMAGE_SIDE, "width": IMAGE_SIDE}
PATCHES = {"image_size": IMAGE_SIDE, "patch_size": 8}
NARROW = {
    "width_coefficient": 0.1,
    "depth_coefficient": 0.1,
    "hidden_dim": 128,
    "initializer_range": 0.2,
}

VISION: dict[str, tuple[Any, Any]] = {
    "vit": (ViTModel, ViTConfig(**LAYERS, **PATCHES)),
    "dinov2": (Dinov2Model, Dinov2Config(**LAYERS, **PATCHES)),
    "dinov3": (DINOv3ViTModel, DINOv3ViTConfig(**LAYERS, **PATCHES, num_register_tokens=2)),
    "swin": (
        SwinModel,
        SwinConfig(
            image_size=IMAGE_SIDE,
            patch_size=4,
            embed_dim=8,
            depths=[1, 1],
            num_heads=[1, 2],
            window_size=4,
        ),
    ),
    "convnext": (ConvNextModel, ConvNextConfig(hidden_sizes=[4, 8, 12, 16], depths=[1] * 4)),
    "resnet": (
        ResNetModel,
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"),
    ),
    "efficientnet": (EfficientNetModel, EfficientNetConfig(**NARROW, image_size=IMAGE_SIDE)),
    "mobilenet": (
        MobileNetV2Model,
        MobileNetV2Config(
            depth_multiplier=0.1, min_depth=4, image_size=IMAGE_SIDE, initializer_range=0.2
        ),
    ),
    "masked": (ViTMAEModel, ViTMAEConfig(**LAYERS, **PATCHES)),
}


def seeded(model: Any, config: Any) -> Any:
    """A model with drawn weights, whose batch norms have seen pictures, as trained ones have."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        made = model(config)
        norms = [one for one in made.modules() if isinstance(one, torch.nn.BatchNorm2d)]
        part = getattr(made, "vision_model", made)
        if norms and part.main_input_name == "pixel_values":
            for norm in norms:
                norm.momentum = 1.0
            part.train()
            with torch.no_grad():
                part(pixel_values=torch.randn(8, 3, IMAGE_SIDE, IMAGE_SIDE))
        return made


def saved_vision(folder: Path, name: str) -> Any:
    """Save one of `VISION` with its preprocessing, and return it."""
    model = seeded(*VISION[name]).eval()
    model.save_pretrained(folder)
    ViTImageProcessorPil(size=SIZE).save_pretrained(folder)
    return model


def saved_siglip(folder: Path, tokenizer_from: Path) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 16, "projection_size": 16}
    vision = {"image_size": IMAGE_SIDE, "patch_size": 8}
    config = SiglipConfig(text_config=LAYERS | text, vision_config=LAYERS | vision)
    seeded(SiglipModel, config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": IMAGE_SIDE, "width": IMAGE_SIDE}
    SiglipImageProcessorPil(size=size).save_pretrained(folder)
    return folder


def saved_align(folder: Path, tokenizer_from: Path) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)
    vision = NARROW | {"image_size": IMAGE_SIDE}
    text = LAYERS | {"vocab_size": len(tokenizer), "max_position_embeddings": 16}
    config = AlignConfig(text_config=text, vision_config=vision, projection_dim=32)
    seeded(AlignModel, config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    EfficientNetImageProcessorPil(size=SIZE).save_pretrained(folder)
    return folder


def saved_chinese_clip(folder: Path, tokenizer_from: Path) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)
    text = LAYERS | {"vocab_size": len(tokenizer), "max_position_embeddings": 16}
    config = ChineseCLIPConfig(text_config=text, vision_config=LAYERS | PATCHES, projection_dim=8)
    seeded(ChineseCLIPModel, config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ChineseCLIPImageProcessorPil(size=SIZE, crop_size=SIZE).save_pretrained(folder)
    return folder
