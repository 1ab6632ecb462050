"""Tiny real models, saved as the hub has them, so that tests load through `from_pretrained`."""

import string
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
)

IMAGE_SIDE = 32
CLIP_TOKENS = 12
BERT_TOKENS = 16
CLIP_DIM = 8
BERT_DIM = 16
COMMIT = "0123456789abcdef0123456789abcdef01234567"

LAYERS = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "clip"
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]  # CLIP pools at the token of the highest id
    tokenizer = CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)}, merges=[], model_max_length=77
    )
    end = tokenizer.eos_token_id
    text = {"vocab_size": len(tokens), "max_position_embeddings": CLIP_TOKENS}
    ids = {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end}
    config = CLIPConfig(
        text_config=LAYERS | text | ids,
        vision_config=LAYERS | {"image_size": IMAGE_SIDE, "patch_size": 8},
        projection_dim=CLIP_DIM,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    crop = {"height": IMAGE_SIDE, "width": IMAGE_SIDE}
    CLIPImageProcessorPil(size={"shortest_edge": IMAGE_SIDE}, crop_size=crop).save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "bert"
    letters = string.ascii_lowercase
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "hat", "shoe"]
    tokens += [*letters, *(f"##{letter}" for letter in letters)]
    tokenizer = BertTokenizer(vocab={token: index for index, token in enumerate(tokens)})
    config = BertConfig(**LAYERS, vocab_size=len(tokens), max_position_embeddings=BERT_TOKENS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def offline_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make the hub client read only an empty cache folder, which is returned."""
    cache = tmp_path / "hub-cache"
    cache.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    return cache


@pytest.fixture
def save_images(tmp_path: Path) -> Callable[[int], Path]:
    def save(count: int) -> Path:
        """Write `0.png` ... of different sizes and random pixels into one folder."""
        folder = tmp_path / "pictures"
        folder.mkdir()
        random = np.random.default_rng(3)
        for index in range(count):
            pixels = random.integers(0, 256, (20 + 7 * index, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
        return folder

    return save
