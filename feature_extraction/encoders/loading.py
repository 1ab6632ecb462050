"""Load models, tokenizers and image processors through transformers, from identified files only."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
)
from transformers.utils.logging import (
    disable_progress_bar,
    enable_progress_bar,
    is_progress_bar_enabled,
)

from feature_extraction.encoders.model_files import ModelFiles, damaged, unreachable
from feature_extraction.errors import FeatureError

_Loaded = TypeVar("_Loaded")


@contextmanager
def quiet_weights() -> Iterator[None]:
    """Reads or writes weights without transformers' progress bars and without random numbers.

    Models draw initial weights before they load others: the caller's random state must not depend
    on whether features were extracted or reused.
    """
    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        if shown:
            enable_progress_bar()


def load_model(
    files: ModelFiles,
    device: torch.device,
    dtype: torch.dtype,
    *,
    fits: Callable[[Any], bool],
    expected: str,
    unused_weights: tuple[str, ...] = (),
) -> tuple[Any, list[str]]:
    """Load a frozen model.

    Args:
        files: Its files.
        device: Where the model runs.
        dtype: What it computes in.
        fits: Whether a configuration is of a model that the kind can use.
        expected: Says in words what ``fits`` asks for.
        unused_weights: Prefixes of the names of weights that may be missing.

    Returns:
        The model, and the names of weights that its files lack; what these compute is random.

    Raises:
        FeatureError: The model cannot be loaded, does not fit, or lacks weights that are used.
    """
    config = load_config(files)
    if not fits(config):
        raise FeatureError(
            f"{files.name} is a {config.model_type!r} model",
            expected=expected,
            fix="choose the kind that fits the model, or another model",
        )
    model, report = _load(
        files,
        AutoModel.from_pretrained,
        use_safetensors=True,  # weights are never unpickled
        dtype=dtype,
        output_loading_info=True,
    )
    missing = sorted(report["missing_keys"])
    used = [key for key in missing if not key.startswith(unused_weights)]
    if used:
        raise FeatureError(
            f"the weights of {files.name} lack {len(used)} tensors, e.g. {used[0]}",
            expected="all weights of the model that config.json describes",
            fix="use the complete checkpoint of this model",
        )
    return model.eval().to(device), missing


def load_config(files: ModelFiles) -> Any:
    """Load the configuration of a model.

    Raises:
        FeatureError: It cannot be loaded.
    """
    return _load(files, AutoConfig.from_pretrained)


def load_tokenizer(files: ModelFiles, vocabulary: int, *, pads_with_end: bool = False) -> Any:
    """Load the tokenizer that belongs to a model.

    Args:
        files: Its files.
        vocabulary: Tokens that the model knows.
        pads_with_end: Whether a tokenizer without a pad token pads with its end token.

    Raises:
        FeatureError: Its files are missing, or it belongs to a larger model.
    """
    tokenizer = _load(files, AutoTokenizer.from_pretrained)
    if pads_with_end and tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is masked, whichever token it is
    # Where the files are missing, transformers makes a tokenizer of special tokens only.
    known, special = len(tokenizer), len(set(tokenizer.all_special_ids))
    if not special < known <= vocabulary or tokenizer.pad_token is None:
        raise FeatureError(
            f"the tokenizer of {files.name} knows {known} tokens, {special} of them special, and "
            f"pads with {tokenizer.pad_token!r}",
            expected=f"a vocabulary of at most {vocabulary} tokens, as the model has, and a pad "
            "token",
            fix="add the tokenizer files that belong to the model (tokenizer.json)",
        )
    return tokenizer


def load_image_processor(files: ModelFiles) -> Any:
    """Load the image preprocessing that belongs to a model.

    Raises:
        FeatureError: It cannot be loaded.
    """
    # The Pillow backend gives the same pixels with and without torchvision.
    return _load(files, AutoImageProcessor.from_pretrained, backend="pil")


def load_feature_extractor(files: ModelFiles) -> Any:
    """Load the preprocessing of sounds that belongs to a model.

    Raises:
        FeatureError: It cannot be loaded.
    """
    return _load(files, AutoFeatureExtractor.from_pretrained)


def load_json(files: ModelFiles, name: str) -> Any:
    """Read a JSON file of the model; None where it has no such file.

    Args:
        files: Its files.
        name: Path inside the model folder.

    Raises:
        FeatureError: The file cannot be had or parsed.
    """

    def read(source: str, **options: Any) -> Any:
        if files.is_local:
            path = Path(source) / name
        else:
            from huggingface_hub import hf_hub_download
            from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

            try:
                path = Path(hf_hub_download(source, name, revision=options["revision"]))
            except LocalEntryNotFoundError:  # offline: nobody knows whether there is one
                raise
            except EntryNotFoundError:
                return None
        return json.loads(path.read_bytes()) if path.exists() else None

    return _load(files, read)


def position_limit(model: nn.Module, config: Any) -> int:
    """Return how many tokens a model has positions for; relative positions have no limit.

    Args:
        model: The text model.
        config: Its configuration.
    """
    limit = getattr(config, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit < 1:
        return 2**31
    # RoBERTa-like models count positions from padding_idx + 1.
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return limit if module.padding_idx is None else limit - module.padding_idx - 1
    return limit


def _load(files: ModelFiles, loader: Callable[..., _Loaded], **options: Any) -> _Loaded:
    """Call a ``from_pretrained`` on exactly the identified files; remote code stays off."""
    try:
        with quiet_weights():
            return loader(
                files.source,
                revision=files.commit or "main",
                local_files_only=files.is_local,
                trust_remote_code=False,
                **options,
            )
    except Exception as error:  # foreign model files fail in as many ways as there are parsers
        if files.is_local:
            raise damaged(files.source, error) from error
        raise unreachable(files.name, files.revision, error) from error
