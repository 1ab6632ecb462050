"""Options of an encoder kind, checked against the signature of its constructor."""

import inspect
import json
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from feature_extraction.encoders.encoder import Encoder
from feature_extraction.errors import FeatureError

_PLAIN: dict[type, tuple[type, ...]] = {
    int: (int,),
    float: (int, float),
    str: (str,),
    bool: (bool,),
    list: (list, tuple),
    tuple: (list, tuple),
    dict: (dict,),
    NoneType: (NoneType,),
}


def construct_encoder(kind: str, cls: type[Encoder], options: Mapping[str, Any]) -> Encoder:
    """Construct an encoder, which loads nothing yet.

    Args:
        kind: What it is called, for errors.
        cls: Its class.
        options: Arguments of its constructor.

    Raises:
        FeatureError: It does not take them, or needs others.
    """
    parameters = inspect.signature(cls).parameters
    taken = [name for name, one in parameters.items() if one.kind is not one.VAR_KEYWORD]
    takes = f"its options {', '.join(taken)}" if taken else "no options: it has none"
    unknown = (
        [] if len(taken) < len(parameters) else [name for name in options if name not in taken]
    )
    if unknown:
        raise FeatureError(
            f"{unknown[0]} is {options[unknown[0]]!r} for a {kind} encoder, which does not take it",
            expected=takes,
            fix=f"leave {unknown[0]} out, or use another kind",
        )
    lacking = [
        name for name in taken if parameters[name].default is inspect.Parameter.empty
        and name not in options
    ]  # fmt: skip
    if lacking:
        raise FeatureError(
            f"a {kind} encoder without {lacking[0]}",
            expected=takes,
            fix=f"give it: options: {{{lacking[0]}: …}}, or --option {lacking[0]}=…",
        )
    _check_types(kind, cls, options)
    try:
        return cls(**options)
    except (TypeError, ValueError) as error:
        raise FeatureError(
            f"a {kind} encoder cannot be made ({error})",
            expected=takes if taken else "a class whose methods are all written",
            fix="mend the options, or the class",
        ) from error


def _check_types(kind: str, cls: type[Encoder], options: Mapping[str, Any]) -> None:
    try:
        hints = get_type_hints(cls.__init__)
    except (NameError, TypeError):  # names that only a type checker knows
        hints = {}
    for name, value in options.items():
        hint = hints.get(name, Any)
        try:
            json.dumps(value)
            fits = _fits(value, hint)
        except (TypeError, ValueError):
            fits, hint = False, "plain types: numbers, texts, lists and dictionaries of them"
        if not fits:
            raise FeatureError(
                f"{name} is {value!r} for a {kind} encoder",
                expected=hint.__name__ if isinstance(hint, type) else str(hint),
                fix=f"give {name} such a value, or leave it out",
            )


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is of an annotated type; types that are not plain are not judged."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inside)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inside)
    plain = _PLAIN.get(NoneType if hint is None else origin or hint)
    if plain is None:
        return True
    if isinstance(value, bool) and bool not in plain:
        return False
    if isinstance(value, list | tuple) and inside:
        return isinstance(value, plain) and all(_fits(one, inside[0]) for one in value)
    return isinstance(value, plain)
