"""Whether what a checkpoint holds fits together, and fits the data and the module at hand."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.errors import CheckpointError, DataError, DivergenceError
from slifmr_pl.graphs.inputs import ModelInputs
from slifmr_pl.losses.objective import Losses
from slifmr_pl.regression.closed_form import ItemRegression

_RESUME = ("epoch", "global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers")


def check_data(inputs: ModelInputs, state: Mapping[str, Any]) -> None:
    """Refuses a checkpoint of other data than that at hand.

    Args:
        inputs: The data at hand.
        state: This package's entry of a checkpoint, or what `data_state` gives.

    Raises:
        CheckpointError: If sizes, ids or contents differ.
    """
    here, there = data_state(inputs), state
    sizes = [
        f"{here['graph'][name]} {name.removeprefix('n_')}, in the checkpoint {there['graph'][name]}"
        for name in ("n_users", "n_items")
        if here["graph"][name] != there["graph"][name]
    ]
    if sizes:
        found = f"the data has {'; '.join(sizes)}"
    elif here["vocabulary"] != there["vocabulary"]:
        found = (
            f"the data has other ids: vocabulary fingerprint {here['vocabulary'][:12]}, "
            f"in the checkpoint {there['vocabulary'][:12]}"
        )
    elif here["fingerprint"] != there["fingerprint"]:
        found = (
            f"the data has fingerprint {here['fingerprint'][:12]}, "
            f"the checkpoint was trained on {there['fingerprint'][:12]}"
        )
    else:
        return
    raise CheckpointError(
        found,
        expected="the same ids, interactions, split, features and knowledge graph",
        fix="give the `data` configuration of the checkpoint's run (its config.yaml), "
        "or train again without --ckpt_path",
    )


def data_state(inputs: ModelInputs) -> dict[str, Any]:
    """What a checkpoint says of its data, in plain types."""
    return {
        "fingerprint": inputs.fingerprint,
        "vocabulary": inputs.vocabulary,
        "graph": inputs.graph.state(),
        "catalogue": None if inputs.catalogue is None else inputs.catalogue.state,
    }


def check_state(state: Mapping[str, Any]) -> None:
    """Refuses an entry of this package whose parts contradict each other.

    Raises:
        CheckpointError: If a part is missing, has another type, or points outside its table.
    """
    try:
        for name in ("fingerprint", "vocabulary"):
            _require(isinstance(state[name], str), f"{name} is no text")
        dims = state["feature_dims"]
        _require(all(_is_size(dim) for dim in dims.values()), "feature_dims are no sizes")
        sums = state["loss_sums"]
        _require(
            isinstance(sums, list)
            and len(sums) in (0, len(Losses._fields) + 1)
            and all(isinstance(value, float) for value in sums),
            "loss_sums are not the sums of an epoch",
        )
        _require(_is_random_state(state["random_state"]), "random_state is none of this torch")
        _check_graph(state["graph"])
        if state["regression"] is not None:
            _check_regression(state["regression"], state["graph"]["n_items"])
        if state["catalogue"] is not None:
            _check_catalogue(state["catalogue"], state["graph"], state["vocabulary"])
    except (KeyError, TypeError, AttributeError) as error:
        _require(False, f"an entry is missing or of another type ({error})")


def _check_regression(regression: Mapping[str, Any], n_items: int) -> None:
    factors, residual = ItemRegression.from_state(regression)
    weight = regression["weight"]
    _require(
        isinstance(weight, float) and 0 <= weight < float("inf"),
        f"the regression's weight is {weight}",
    )
    _require(
        factors.dtype == residual.dtype == torch.float32
        and factors.ndim == 2
        and len(factors) == n_items
        and residual.shape == (n_items, 1)
        and bool(factors.isfinite().all() and (residual > 0).all())
        and bool((residual <= 1).all()),
        f"the regression is not one of {n_items} items",
    )


def _check_graph(graph: Mapping[str, Any]) -> None:
    n_users, n_items = graph["n_users"], graph["n_items"]
    _require(_is_size(n_users) and _is_size(n_items), "the numbers of users and items are no sizes")
    _require_rows("users", graph["users"], 0, n_users)
    _require_rows("items", graph["items"], 0, n_items)
    _require(graph["users"].shape == graph["items"].shape, "users and items are no pairs")
    for name, part in graph["modalities"].items():
        _require_rows(f"neighbours of {name}", part["indices"], -1, n_items, dims=2)
        weights, present = part["weights"], part["present"]
        _require(
            len(part["indices"]) == n_items
            and weights.shape == part["indices"].shape
            and weights.dtype == torch.float32
            and bool(weights.isfinite().all())
            and present.shape == (n_items,)
            and present.dtype == torch.bool,
            f"the graph of {name} is not one of {n_items} items",
        )
    triples = graph["triples"]
    if triples is not None:
        n_entities, n_relations = triples["n_entities"], triples["n_relations"]
        _require(
            _is_size(n_entities) and _is_size(n_relations) and n_entities >= n_items,
            "the numbers of entities and relations are no sizes",
        )
        for name, bound in (
            ("heads", n_entities),
            ("tails", n_entities),
            ("relations", n_relations),
        ):
            _require_rows(name, triples[name], 0, bound)
        _require(
            triples["heads"].shape == triples["relations"].shape == triples["tails"].shape,
            "heads, relations and tails are no triples",
        )


def _check_catalogue(state: Mapping[str, Any], graph: Mapping[str, Any], digest: str) -> None:
    n_users, n_items = graph["n_users"], graph["n_items"]
    _require_rows("users who know more", state["held_out_users"], 0, n_users)
    _require_rows("items that they know", state["held_out_items"], 0, n_items)
    _require(
        state["held_out_users"].shape == state["held_out_items"].shape,
        "users and the items that they know are no pairs",
    )
    try:
        catalogue = Catalogue.from_state(state)
    except (ValueError, DataError) as error:
        _require(False, f"raw ids cannot be read ({str(error).splitlines()[0]})")
        return
    _require(catalogue.fingerprint() == digest, "its raw ids are not those it was trained with")
    n_entities = n_items if graph["triples"] is None else graph["triples"]["n_entities"]
    sizes = [len(part) for part in (catalogue.users, catalogue.items, catalogue.entities)]
    _require(
        sizes[:2] == [n_users, n_items] and sizes[2] >= n_entities,
        f"there are ids of {sizes[0]} users, {sizes[1]} items and {sizes[2]} entities",
    )


def check_tensors(
    module: nn.Module,
    saved: Mapping[str, Any],
    n_items: int,
    shared: Mapping[str, int] | None = None,
) -> None:
    """Refuses weights and buffers that are not those of the module.

    torch would cast another dtype, and a row outside its table would be read.

    Args:
        module: What they are meant for.
        saved: Its state by name.
        n_items: Bound of rows in the correlation graphs.
        shared: Tensors of which the module holds a share of the columns: by name, how many shares
            there are. A checkpoint has all columns.

    Raises:
        CheckpointError: If a name, a shape, a dtype or a value is not one of this module.
    """
    own = module.state_dict()
    different = sorted(own.keys() ^ saved.keys())
    _require(not different, f"{len(different)} tensors are missing or strange: {different[:3]}")
    for name, tensor in own.items():
        other = saved[name]
        _require(isinstance(other, Tensor), f"{name} is no tensor")
        shape = list(tensor.shape)
        if shared and name in shared:
            shape[-1] *= shared[name]
        _require(
            list(other.shape) == shape and other.dtype == tensor.dtype,
            f"{name} is {other.dtype} {list(other.shape)} instead of {tensor.dtype} {shape}",
        )
        _require(not other.is_floating_point() or _finite(other), f"{name} is not finite")
        if name.endswith("_neighbours"):
            _require_rows(name, other, -1, n_items, torch.int64, dims=2)


def check_resume(module: nn.Module, checkpoint: Mapping[str, Any], max_epochs: int | None) -> None:
    """Refuses a checkpoint that training cannot go on from; its tensors are checked already.

    Args:
        module: What is trained.
        checkpoint: As read.
        max_epochs: Of the run at hand; None or -1 for no end.

    Raises:
        CheckpointError: If it holds weights only, another optimizer's state, or a later epoch.
    """
    absent = [name for name in _RESUME if name not in checkpoint]
    _require(not absent, f"there is no entry {absent[:3]}: it holds weights, and no training state")
    try:
        begun = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"]
    except (KeyError, TypeError):
        begun = None
    _require(type(begun) is int, "there is no position of the training loop")
    if max_epochs not in (None, -1) and begun > max_epochs:
        raise CheckpointError(
            f"the checkpoint has begun {begun} epochs, and trainer.max_epochs is {max_epochs}",
            expected=f"at least {begun} epochs",
            fix="raise trainer.max_epochs",
        )
    # Not the module's own: it may hold a share of the columns.
    parameters = [checkpoint["state_dict"][name] for name, _ in module.named_parameters()]
    for optimizer in checkpoint["optimizer_states"]:
        for index, entry in optimizer["state"].items():
            for name in ("exp_avg", "exp_avg_sq"):  # Adam's; another one has its own
                moment = entry.get(name)
                _require(
                    moment is None
                    or (
                        index < len(parameters)
                        and moment.shape == parameters[index].shape
                        and moment.dtype == parameters[index].dtype
                        and _finite(moment)
                    ),
                    f"{name} of parameter {index} is not that of this optimizer",
                )


def require_finite(checkpoint: Mapping[str, Any]) -> None:
    """Refuses to save what has diverged, so that a good checkpoint is never overwritten with it.

    Raises:
        DivergenceError: If a weight, a graph or an optimizer's state is not finite.
    """
    named = [
        *_floating(checkpoint["state_dict"]),
        *_floating(checkpoint.get("optimizer_states", [])),
    ]
    if not named:
        return
    # One wait for the device, not one a tensor.
    finite = torch.stack([tensor.isfinite().all() for _, tensor in named]).tolist()
    wrong = [name for (name, _), good in zip(named, finite, strict=True) if not good]
    if wrong:
        raise DivergenceError(
            f"training diverged: {len(wrong)} of {len(named)} tensors of epoch "
            f"{checkpoint['epoch']} are not finite, the first is {wrong[0]}",
            expected="finite weights",
            fix="train anew with a lower model.optimizer.learning_rate; or go on from last.ckpt, "
            "which was saved before, with trainer.gradient_clip_val",
        )


def _floating(values: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(values, Tensor):
        if values.is_floating_point() and values.numel():
            yield name, values.detach()
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield from _floating(value, f"{name}.{key}".lstrip("."))
    elif isinstance(values, list | tuple):
        for index, value in enumerate(values):
            yield from _floating(value, f"{name}.{index}".lstrip("."))


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())


def _is_random_state(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.dtype == torch.uint8
        and value.dim() == 1
        and len(value) >= len(torch.get_rng_state())
    )


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 1


def _require_rows(
    name: str,
    rows: Any,
    low: int,
    bound: int,
    dtype: torch.dtype = torch.int32,
    dims: int = 1,
) -> None:
    """Requires a tensor of rows from `low` to below `bound`."""
    _require(
        isinstance(rows, Tensor) and rows.dtype == dtype and rows.dim() == dims,
        f"{name} are no rows of {dtype}",
    )
    if rows.numel():
        least, most = (int(value) for value in rows.aminmax())
        _require(
            low <= least and most < bound,
            f"{name} have rows from {least} to {most}, of a table of {bound}",
        )


def _require(holds: bool, found: str) -> None:
    if not holds:
        raise CheckpointError(
            f"the checkpoint does not fit: {found}",
            expected="what `fit` of this version wrote for this model",
            fix="use another checkpoint of the run; this one is altered or of another model",
        )
