"""Every setting of models and data with absurd values: refused by name while nothing is read."""

import dataclasses
import inspect
import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from feature_extraction import ExtractionConfig
from slifmr_pl.callbacks.checkpoints import LastCheckpoint
from slifmr_pl.data.features import ModalitySource
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.errors import UserFacingError
from slifmr_pl.models import Ease, ItemKnn, MostPopular, Vbpr
from slifmr_pl.module import SlifMrModule

CLASSES = (SlifMrModule, SlifMrDataModule, Ease, ItemKnn, MostPopular, Vbpr, LastCheckpoint)
CONFIGS = (ModalitySource, ExtractionConfig)  # of dictionaries and other programs
REQUIRED = {"root": "nowhere"}

MAY_BE_ZERO = {
    "network.interaction.layers",
    "network.interaction.edge_dropout",
    "network.modality.weight",
    "network.knowledge.weight",
    "network.regression.weight",
    "network.regression.side_information",
    "network.user_fusion",
    "self_loop.gamma_interaction",
    "self_loop.gamma_modality",
    "self_loop.gamma_knowledge",
    "self_loop.momentum",
    "self_loop.least_support",
    "self_loop.search.exact_rows",
    "loss.alignment",
    "loss.l2",
    "filters.minimum_rating",
    "filters.k_core",
    "split.seed",
    "neighbour_search.exact_rows",
    "perturbations.cold_items",
    "perturbations.added_interactions",
    "perturbations.corrupted_triples",
    "perturbations.seed",
    "extraction.workers",
    "workers",
    "seed",
    "shrinkage",
    "l2",  # of Vbpr
    "minutes",
}
MAY_BE_NEGATIVE = {"filters.minimum_rating"}
COLLECTIONS: dict[str, list[Any]] = {
    "ks": [(), (0,), (5, 0), (-1,), (5, 5), (math.nan,)],
    "split.ratios": [(0, 0, 0), (0.5, 0.1, 0.1), (1.5, -0.25, -0.25), (math.nan,) * 3, (0.9, 0.1)],
    "perturbations.missing_features": [{"text": 1.5}, {"text": -0.1}, {"text": math.nan}],
}


def parameters(kind: type) -> Iterator[tuple[str, Any, Any]]:
    """Name, type and default of all arguments, those of parents that are handed on included."""
    seen = set()
    for cls in kind.__mro__:
        if "__init__" not in vars(cls) or cls is object:
            continue
        hints = get_type_hints(cls.__init__)
        if dataclasses.is_dataclass(cls):
            hints = get_type_hints(cls)
        handed_on = False
        for one in inspect.signature(cls.__init__).parameters.values():
            handed_on |= one.kind is inspect.Parameter.VAR_KEYWORD
            if one.name in hints and one.kind is not one.VAR_KEYWORD and one.name not in seen:
                seen.add(one.name)
                yield one.name, hints[one.name], one.default
        if not handed_on:
            return


def settings(
    kind: type, make: Callable[..., Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Callable[[Any], Any]]]:
    """Dotted name and type of each setting, and what makes the whole with another value of it."""
    for name, hint, _ in parameters(kind):

        def whole(value: Any, name: str = name) -> Any:
            return make(**{name: value})

        if dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            yield from settings(
                hint, lambda h=hint, whole=whole, **given: whole(h(**given)), f"{prefix}{name}."
            )
        else:
            yield prefix + name, hint, whole


def made(kind: type) -> Callable[..., Any]:
    """The class with what it cannot do without."""
    names = {name for name, _, _ in parameters(kind)}
    needed = {name: value for name, value in REQUIRED.items() if name in names}
    return lambda **given: kind(**{**needed, **given})


def numbers(hint: Any) -> set[type]:
    """The numeric types that a setting takes."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return {option for option in options if option in (int, float)}


def absurd(name: str, hint: Any) -> list[Any]:
    """Values that mean nothing for a setting."""
    if name in COLLECTIONS:
        return COLLECTIONS[name]
    if not numbers(hint):
        return []
    values: list[Any] = [math.nan, math.inf, -math.inf]
    values += [] if name in MAY_BE_NEGATIVE else [-1, -(10**12)]
    return values + ([] if name in MAY_BE_ZERO else [0])


ALL = {
    f"{kind.__name__}.{name}": (name, hint, whole)
    for kind in (*CLASSES, *CONFIGS)
    for name, hint, whole in settings(kind, made(kind))
}
ABSURD = [
    pytest.param(name, whole, value, id=f"{key}={value}")
    for key, (name, hint, whole) in ALL.items()
    for value in absurd(name, hint)
]


@pytest.mark.parametrize(("name", "whole", "value"), ABSURD)
def test_absurd_value_is_refused_by_name_before_anything_is_read(
    name: str, whole: Callable[[Any], Any], value: Any
) -> None:
    with pytest.raises(UserFacingError) as refused:
        whole(value)
    assert name.rpartition(".")[2] in str(refused.value)
    assert "fix:" in str(refused.value)


def test_every_numeric_setting_is_among_them() -> None:
    tried = {param.values[0] for param in ABSURD}
    assert {"network.embedding_dim", "optimizer.learning_rate", "ks", "top_k"} <= tried
    assert {"batch_size", "negatives", "neighbours", "eval_batch_size", "split.seed"} <= tried
    left_out = {
        name
        for name, hint, _ in ALL.values()
        if name not in tried and get_origin(hint) in (Sequence, Mapping, tuple, list, dict)
    }
    assert left_out <= {
        *("metrics", "modalities", "columns", "id_columns", "options"),  # of names and parts
        *("network.views", "loss.terms"),
    }


@pytest.mark.parametrize("name", sorted(MAY_BE_ZERO))
def test_zero_that_means_something_is_taken(name: str) -> None:
    takes = [whole for own, _, whole in ALL.values() if own == name]
    assert takes
    refused = []
    for whole in takes:
        try:
            whole(0)
        except UserFacingError as error:
            refused.append(error)
    assert len(refused) < len(takes)
