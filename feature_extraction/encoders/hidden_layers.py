"""Chosen layers of a model, by index or by name, out of one forward pass.

Shapes: b inputs, N tokens or patches, d channels of a layer, H x W places of a picture.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from feature_extraction.errors import FeatureError

if TYPE_CHECKING:
    from torch import Tensor

Layer = int | str
"""An index into the model's hidden states (0 is what enters its first layer, -1 is the last), or
the name of one of its modules, as ``model.named_modules()`` gives it."""


def checked_layers(
    layers: Layer | Sequence[Layer] | None, pooling: str | None
) -> tuple[Layer, ...]:
    """Return chosen layers as a tuple; empty is the end of the model.

    Raises:
        FeatureError: None are listed, or one twice, or they are to be pooled by the pooler.
    """
    if layers is None:
        return ()
    chosen = (layers,) if isinstance(layers, int | str) else tuple(layers)
    if not chosen or len(set(chosen)) < len(chosen):
        raise FeatureError(
            f"layers is {list(chosen)}",
            expected="at least one layer, each once",
            fix="name the layers, such as [6, 12], or leave layers out: the end of the model",
        )
    if pooling == "pooler":
        raise FeatureError(
            "pooling is 'pooler' with layers",
            expected="another pooling: only the end of a model has a pooler",
            fix="choose another pooling, or leave it or the layers out",
        )
    return chosen


class HiddenLayers:
    """Runs a model and pools what some of its layers give.

    Args:
        model: A model of transformers.
        layers: Which of them.

    Raises:
        FeatureError: The model has no module of a name.
    """

    def __init__(self, model: Any, layers: Sequence[Layer]) -> None:
        self._model, self._layers = model, layers
        self._caught: dict[str, Any] = {}
        self._columns: list[int] = []
        known = dict(model.named_modules())
        for name in (layer for layer in layers if isinstance(layer, str)):
            if name not in known or not name:
                close = difflib.get_close_matches(name, known, n=3) or list(known)[1:6]
                raise FeatureError(
                    f"the model has no layer {name!r}",
                    expected=f"the name of one of its {len(known) - 1:,} modules",
                    fix=f"take another name, such as {', '.join(close)}; or an index",
                )
            known[name].register_forward_hook(self._catch(name))

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Each layer and its columns, for the manifest; empty without layers."""
        layers = [
            {"layer": layer, "columns": columns}
            for layer, columns in zip(self._layers, self._columns, strict=True)
        ]
        return {"layers": layers} if layers else {}

    def __call__(
        self, inputs: "Mapping[str, Tensor]", pool: "Callable[[Tensor], Tensor]"
    ) -> "Tensor":
        """Run the model once.

        Args:
            inputs: What the model takes.
            pool: Called with what each layer gives, ``[b, N, d]``, ``[b, d, H, W]`` or
                ``[b, d]``; gives ``[b, d]``.

        Returns:
            The vectors of the layers, one behind the other.

        Raises:
            FeatureError: A layer is not there, or gives something else than numbers.
        """
        import torch

        indexed = any(isinstance(layer, int) for layer in self._layers)
        output = self._model(**inputs, **({"output_hidden_states": True} if indexed else {}))
        vectors = [
            pool(self._indexed(output, layer) if isinstance(layer, int) else self._named(layer))
            for layer in self._layers
        ]
        self._caught.clear()  # nothing of a batch outlives it
        self._columns = [one.shape[1] for one in vectors]
        return torch.cat(vectors, 1)

    def _indexed(self, output: Any, layer: int) -> "Tensor":
        states = getattr(output, "hidden_states", None) or ()
        if not -len(states) <= layer < len(states):
            raise FeatureError(
                f"the model has no layer {layer}; it gives {len(states)} hidden states",
                expected=f"{-len(states)} to {len(states) - 1}"
                if states
                else "a layer by its name",
                fix="choose another layer",
            )
        state: Tensor = states[layer]
        return state

    def _named(self, name: str) -> "Tensor":
        from torch import Tensor

        value = self._caught.get(name)
        if not isinstance(value, Tensor) and value is not None:
            value = next((one for one in value if isinstance(one, Tensor)), None)
        if value is None or not value.is_floating_point() or value.ndim not in (2, 3, 4):
            raise FeatureError(
                f"the layer {name!r} gives {_described(value)}",
                expected="numbers of shape [b, d], [b, N, d] or [b, d, H, W]",
                fix="choose another layer",
            )
        return value

    def _catch(self, name: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            values = output.values() if isinstance(output, Mapping) else output
            self._caught[name] = values

        return hook


def _described(value: Any) -> str:
    return "nothing" if value is None else f"{value.dtype} of shape {list(value.shape)}"
