"""What the files of a sentence-transformers model say about length, pooling and unit length."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NoReturn

from feature_extraction.encoders.model_files import ModelFiles
from feature_extraction.errors import FeatureError

_POOLINGS = ("mean", "cls", "max")
_OLD_POOLINGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}


@dataclass(frozen=True)
class SentenceModules:
    """Settings of a model whose modules are Transformer, Pooling and perhaps Normalize.

    Args:
        pooling: ``mean``, ``cls`` or ``max``.
        unit_length: Whether vectors are normalised.
        max_length: Tokens that the model sees; None where the files do not say.
        lower: Whether texts are lowered.
        prompt: Written before every text.
    """

    pooling: str
    unit_length: bool
    max_length: int | None
    lower: bool
    prompt: str


def read_modules(files: ModelFiles) -> SentenceModules:
    """Read ``modules.json`` and the files that it names.

    Raises:
        FeatureError: There are none, or they ask for something else than this package does.
    """
    from feature_extraction.encoders.loading import load_json  # transformers takes its time

    modules = load_json(files, "modules.json")
    if modules is None:
        _refuse(files, "has no modules.json")
    # Types are qualified names that differ between versions of the library.
    types = [str(module["type"]).rpartition(".")[2] for module in modules]
    if types not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        _refuse(files, f"has the modules {', '.join(types)}")
    transformer, pooling = (PurePosixPath(module["path"]) for module in modules[:2])
    if transformer.parts or len(pooling.parts) != 1 or pooling.parts[0] in ("..", "/"):
        _refuse(files, f"keeps its modules in {str(transformer)!r} and {str(pooling)!r}")
    settings = load_json(files, "sentence_bert_config.json") or {}
    pool = load_json(files, f"{pooling}/config.json") or {}
    own = load_json(files, "config_sentence_transformers.json") or {}
    prompt = (own.get("prompts") or {}).get(own.get("default_prompt_name"), "")
    if prompt and not pool.get("include_prompt", True):
        _refuse(files, "leaves its prompt out of the pooling")
    return SentenceModules(
        pooling=_pooling(files, pool),
        unit_length=len(types) == 3,
        max_length=settings.get("max_seq_length"),
        lower=bool(settings.get("do_lower_case")),
        prompt=prompt,
    )


def _pooling(files: ModelFiles, settings: dict[str, Any]) -> str:
    mode = settings.get("pooling_mode")
    if mode is None:
        modes = [name for name, on in settings.items() if name.startswith("pooling_mode_") and on]
        mode = _OLD_POOLINGS.get(modes[0]) if len(modes) == 1 else modes
    if mode not in _POOLINGS:
        _refuse(files, f"pools by {mode}")
    return str(mode)


def _refuse(files: ModelFiles, found: str) -> NoReturn:
    raise FeatureError(
        f"{files.name} {found}",
        expected="a sentence-transformers model of Transformer, Pooling (mean, cls or max) and "
        "perhaps Normalize, the first of them in the folder itself",
        fix="use kind 'bert' and choose a pooling, or another model",
    )
