"""Tiny untrained encoders for the demo: a CLIP and a BERT in the layout of the real ones.

They have never seen a picture or a text. Random projections still keep colours and shapes, and
random word embeddings still keep words apart, which is all that the demo catalogue needs. They
know nothing of real catalogues: use trained encoders there.
"""

import functools
import itertools
import math
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    PreTrainedModel,
)

from feature_extraction.encoders.loading import quiet_weights
from slifmr_pl.demo.folder import publish
from slifmr_pl.demo.product_texts import demo_corpus

VERSION = 1  # raise it when the same seed comes to give other files
HIDDEN = 64
LAYERS = 2
HEADS = 4
IMAGE_SIDE = 48
PATCH_SIDE = 16
CLIP_TOKENS = 77
BERT_TOKENS = 512


@dataclass(frozen=True)
class DemoEncoders:
    """Folders of the encoders, as ``from_pretrained`` takes them."""

    clip: Path
    bert: Path


def write_demo_encoders(root: Path, *, seed: int = 2026) -> DemoEncoders:
    """Write a tiny CLIP and a tiny BERT with random weights, in the layout of the real ones.

    ``root/clip`` and ``root/bert`` load through the ``from_pretrained`` calls that load
    ``openai/clip-vit-base-patch32`` and ``bert-base-uncased``. They are UNTRAINED: good for trying
    the pipeline on the demo catalogue, and for nothing else. The global random state of torch is
    left as it is.

    Args:
        root: Folder to write; left alone if it holds the same encoders already.
        seed: Seed of the weights.

    Returns:
        The two folders.

    Raises:
        DataError: If ``root`` holds anything else; nothing is overwritten.
    """
    origin = {"kind": "demo encoders", "version": VERSION, "seed": seed}
    publish(root, origin, functools.partial(_write, seed))
    return DemoEncoders(clip=root / "clip", bert=root / "bert")


def _write(seed: int, root: Path) -> None:
    generator = torch.Generator().manual_seed(seed)
    clip_tokenizer, bert_tokenizer = _clip_tokenizer(), _bert_tokenizer()
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIDE}, crop_size={"height": IMAGE_SIDE, "width": IMAGE_SIDE}
    )
    with quiet_weights():
        clip = CLIPModel(_clip_config(clip_tokenizer))
        bert = BertModel(_bert_config(bert_tokenizer))
        for part, model in ((root / "clip", clip), (root / "bert", bert)):
            _draw_weights(model, generator)
            model.save_pretrained(part)
    clip_tokenizer.save_pretrained(root / "clip")
    image_processor.save_pretrained(root / "clip")
    bert_tokenizer.save_pretrained(root / "bert")


@torch.no_grad()
def _draw_weights(model: PreTrainedModel, generator: torch.Generator) -> None:
    """Draw all weight matrices so that the input outweighs what all inputs have in common.

    The usual small embeddings (0.02) would drown words and patches in the constants of the layer
    norms. Words get unit variance, every projection keeps the variance of its input, and positions
    stay small, so that the same patch or word counts alike wherever it is. Biases and norms keep
    their neutral values.
    """
    for name, weight in sorted(model.named_parameters()):
        if "position" in name or "token_type" in name or "class_embedding" in name:
            scale = 0.02
        elif weight.ndim < 2:
            continue
        elif "word_embeddings" in name or "token_embedding" in name:
            scale = 1.0
        else:
            scale = 1 / math.sqrt(weight[0].numel())
        weight.copy_(scale * torch.randn(weight.shape, generator=generator))


def _clip_config(tokenizer: CLIPTokenizer) -> CLIPConfig:
    layers = {
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "projection_dim": HIDDEN,
    }
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": CLIP_TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {"image_size": IMAGE_SIDE, "patch_size": PATCH_SIDE}
    return CLIPConfig(
        text_config=layers | text, vision_config=layers | vision, projection_dim=HIDDEN
    )


def _bert_config(tokenizer: BertTokenizer) -> BertConfig:
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=2 * HIDDEN,
        max_position_embeddings=BERT_TOKENS,
        pad_token_id=tokenizer.pad_token_id,
    )


def _bert_tokenizer() -> BertTokenizer:
    """WordPiece over the whole words of the demo texts, and letters for all other words."""
    blank = BertTokenizer().backend_tokenizer
    words = {
        word
        for line in demo_corpus()
        for word, _ in blank.pre_tokenizer.pre_tokenize_str(blank.normalizer.normalize_str(line))
    }
    letters = sorted({*string.printable.lower(), *"".join(words)} - set(string.whitespace))
    pieces = [*letters, *(f"##{letter}" for letter in letters), *sorted(words - set(letters))]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {piece: place for place, piece in enumerate([*special, *pieces])}
    return BertTokenizer(vocab=vocabulary, model_max_length=BERT_TOKENS)


def _clip_tokenizer() -> CLIPTokenizer:
    """Byte pairs that give every word of the demo texts a token, with ids in the order of CLIP."""
    blank = CLIPTokenizer().backend_tokenizer
    words = [
        word
        for line in demo_corpus()
        for word, _ in blank.pre_tokenizer.pre_tokenize_str(blank.normalizer.normalize_str(line))
    ]
    # Annotated as strings by transformers, but handed to tokenizers, which takes pairs.
    merges: Any = _byte_pairs(words)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CLIP_TOKENS)


def _byte_pairs(words: list[str]) -> list[tuple[str, str]]:
    """Merges, in order of rank, under which each of the words becomes one piece.

    Older merges go first, so those that a later word adds never break up an earlier word. The
    trainer of ``tokenizers`` is no choice here: it breaks ties differently from run to run.
    """
    ranks: dict[tuple[str, str], int] = {}
    for word in words:
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        while len(pieces) > 1:
            pair = min(itertools.pairwise(pieces), key=lambda pair: ranks.get(pair, len(ranks)))
            ranks.setdefault(pair, len(ranks))
            pieces = _merge(pieces, pair)
    return list(ranks)


def _merge(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in pieces:
        # A piece that was just merged is longer than pair[0], so it cannot be taken twice.
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged
