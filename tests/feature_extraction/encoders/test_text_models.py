from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
    GPT2Config,
    GPT2Model,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    T5Model,
)

from feature_extraction import EncoderSpec, FeatureError
from tests.feature_extraction.conftest import BERT_DIM
from tests.feature_extraction.encoders.encoding import encoded_texts, load
from tests.feature_extraction.encoders.tiny_models import saved_vision, seeded

TEXTS = ["red hat", "blue", "a red shoe and a blue hat"]


def each_alone(model: Any, folder: Path, layer: int | None = None) -> list[torch.Tensor]:
    """Tokens of each text, `[T, d]`, of the end or of a hidden state."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    hidden = []
    for text in TEXTS:
        tokens = tokenizer(text, return_tensors="pt")
        named = {name: tokens[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            output = model(**named, output_hidden_states=layer is not None)
        end = output.last_hidden_state if layer is None else output.hidden_states[layer]
        hidden.append(end[0])
    return hidden


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("mean", lambda tokens: tokens.mean(0)),
        ("max", lambda tokens: tokens.amax(0)),
        ("cls", lambda tokens: tokens[0]),
        ("last", lambda tokens: tokens[-1]),
    ],
)
def test_tokens_are_pooled_without_padding(bert_folder: Path, pooling: Any, pool: Any) -> None:
    expected = each_alone(AutoModel.from_pretrained(bert_folder), bert_folder)
    vectors = encoded_texts(EncoderSpec("text", str(bert_folder), pooling=pooling), TEXTS)
    torch.testing.assert_close(vectors, torch.stack(list(map(pool, expected))))


def test_pooler_is_that_of_the_model(bert_folder: Path) -> None:
    model = AutoModel.from_pretrained(bert_folder)
    tokens = AutoTokenizer.from_pretrained(bert_folder)("red hat", return_tensors="pt")
    vectors = encoded_texts(EncoderSpec("text", str(bert_folder), pooling="pooler"), TEXTS)
    with torch.no_grad():
        torch.testing.assert_close(vectors[0], model(**tokens).pooler_output[0])


def test_layers_of_texts_come_out_of_one_pass(bert_folder: Path) -> None:
    model = AutoModel.from_pretrained(bert_folder)
    options = {"layers": [1, "encoder.layer.0.output"]}
    spec = EncoderSpec("text", str(bert_folder), options=options)
    vectors = encoded_texts(spec, TEXTS)
    first = torch.stack([tokens.mean(0) for tokens in each_alone(model, bert_folder, layer=1)])
    torch.testing.assert_close(vectors, torch.cat([first, first], 1))
    encoder = load(spec)
    assert [one["columns"] for one in encoder.preprocessing["layers"]] == [BERT_DIM, BERT_DIM]


def test_text_kind_gives_what_bert_gives(bert_folder: Path) -> None:
    text, bert = (
        encoded_texts(EncoderSpec(kind, str(bert_folder)), TEXTS) for kind in ("text", "bert")
    )
    assert torch.equal(text, bert)


def test_decoder_without_a_pad_token_is_pooled_at_its_last_token(
    tmp_path: Path, bert_folder: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(bert_folder)
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="[SEP]")
    assert bare.pad_token is None
    bare.save_pretrained(tmp_path)
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16}
    model = seeded(GPT2Model, GPT2Config(vocab_size=len(tokenizer), **sizes)).eval()
    model.save_pretrained(tmp_path)
    vectors = encoded_texts(EncoderSpec("text", str(tmp_path), pooling="last"), TEXTS)
    expected = [tokens[-1] for tokens in each_alone(model, tmp_path)]
    torch.testing.assert_close(vectors, torch.stack(expected))
    with pytest.raises(FeatureError, match="pads with None"):
        load(EncoderSpec("bert", str(tmp_path)))


@pytest.mark.parametrize("saved", [T5Model, T5EncoderModel])
def test_encoder_of_a_model_with_a_decoder_is_used(
    tmp_path: Path, bert_folder: Path, saved: Any
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(bert_folder)
    tokenizer.save_pretrained(tmp_path)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    model = seeded(saved, T5Config(vocab_size=len(tokenizer), **sizes)).eval()
    model.save_pretrained(tmp_path)
    vectors = encoded_texts(EncoderSpec("text", str(tmp_path)), TEXTS)
    expected = [
        tokens.mean(0)
        for tokens in each_alone(AutoModel.from_pretrained(tmp_path).get_encoder(), tmp_path)
    ]
    torch.testing.assert_close(vectors, torch.stack(expected))


def test_models_with_pictures_are_refused(tmp_path: Path, clip_folder: Path) -> None:
    saved_vision(tmp_path, "vit")
    for folder in (tmp_path, clip_folder):
        with pytest.raises(FeatureError, match="a text model"):
            load(EncoderSpec("text", str(folder)))
    with pytest.raises(FeatureError, match="only the end"):
        EncoderSpec("text", "owner/model", pooling="pooler", options={"layers": 1})
