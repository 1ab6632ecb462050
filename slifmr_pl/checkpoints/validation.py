"""Whether what a checkpoint holds fits together, and fits the module at hand."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.errors import CheckpointError, DataError, DivergenceError

_RESUME = ("epoch", "global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers")


def check_state(state: Mapping[str, Any]) -> None:
    """Refuses an entry of this package whose parts contradict each other.

    Raises:
        CheckpointError: If a part is missing, has another type, or points outside its table.
    """
    try:
        for name in ("fingerprint", "vocabulary"):
            _require(isinstance(state[name], str), f"{name} is no text")
        _sizes("features", *state["features"].values())
        for entry in state["means"]:
            _require(
                len(entry["sums"]) == len(entry["names"]) + 1
                and all(isinstance(value, float) for value in entry["sums"]),
                "means are not the sums of an epoch",
            )
        _require(
            state["seed"] is None or (type(state["seed"]) is int and state["seed"] >= 0),
            "seed is no whole number",
        )
        _check("random_state", state["random_state"], torch.uint8, None)
        _require(
            len(state["random_state"]) >= len(torch.get_rng_state()),
            "random_state is none of this torch",
        )
        _check_graph(state["graph"])
        if state["catalogue"] is not None:
            _check_catalogue(state["catalogue"], state["graph"], state["vocabulary"])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        _require(False, f"an entry is missing or of another type ({error})")


def check_regression(regression: Any, n_items: int) -> None:
    """Refuses a solved regression of another catalogue size; None passes.

    Raises:
        CheckpointError: If it does not fit.
    """
    if regression is None:
        return
    try:
        weight, residual = regression["weight"], regression["residual_share"]
        _require(
            isinstance(weight, float) and 0 <= weight < float("inf"),
            f"the regression's weight is {weight}",
        )
        _check("the regression", regression["shared_factors"], torch.float32, n_items, None)
        _check("the regression's residual shares", residual, torch.float32, n_items, 1)
        _require(
            bool(((residual > 0) & (residual <= 1)).all()),
            f"the regression is not one of {n_items} items",
        )
    except (KeyError, TypeError, AttributeError) as error:
        _require(False, f"an entry is missing or of another type ({error})")


def _check_graph(graph: Mapping[str, Any]) -> None:
    n_users, n_items = graph["n_users"], graph["n_items"]
    _sizes("the numbers of users and items", n_users, n_items)
    _check("users", graph["users"], torch.int32, None, rows=(0, n_users))
    _check("items", graph["items"], torch.int32, len(graph["users"]), rows=(0, n_items))
    for name, part in graph["modalities"].items():
        indices, of = part["indices"], f"of {name}"
        _check(f"neighbours {of}", indices, torch.int32, n_items, None, rows=(-1, n_items))
        _check(f"weights {of}", part["weights"], torch.float32, *indices.shape)
        _check(f"items that have {name}", part["present"], torch.bool, n_items)
    triples = graph["triples"]
    if triples is not None:
        n_entities, n_relations = triples["n_entities"], triples["n_relations"]
        _sizes("the numbers of entities and relations", n_entities, n_relations)
        _require(n_entities >= n_items, f"{n_entities} entities are fewer than the items")
        for name, bound in (
            ("heads", n_entities),
            ("tails", n_entities),
            ("relations", n_relations),
        ):
            length = len(triples["heads"])
            _check(name, triples[name], torch.int32, length, rows=(0, bound))


def _check_catalogue(state: Mapping[str, Any], graph: Mapping[str, Any], digest: str) -> None:
    n_users, n_items = graph["n_users"], graph["n_items"]
    users, items = state["held_out_users"], state["held_out_items"]
    _check("users who know more", users, torch.int32, None, rows=(0, n_users))
    _check("items that they know", items, torch.int32, len(users), rows=(0, n_items))
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
    rows: Mapping[str, int] | None = None,
    shared: Mapping[str, int] | None = None,
) -> None:
    """Refuses weights and buffers that do not fit the module.

    torch itself would cast another dtype, and a row number beyond its table would be looked up.

    Args:
        module: What they are meant for.
        saved: Its state by name.
        rows: Bound of the row numbers in a buffer, by its name; -1 stands for none.
        shared: Tensors of which the module holds a share of the columns: by name, how many shares
            there are. A checkpoint has all columns.

    Raises:
        CheckpointError: If a name, a shape, a dtype or a value is not one of this module.
    """
    own = module.state_dict()
    different = sorted(own.keys() ^ saved.keys())
    _require(not different, f"{len(different)} tensors are missing or strange: {different[:3]}")
    for name, tensor in own.items():
        shape = list(tensor.shape)
        if shared and name in shared:
            shape[-1] *= shared[name]
        bounds = (-1, rows[name]) if rows and name in rows else None
        _check(name, saved[name], torch.int64 if bounds else tensor.dtype, *shape, rows=bounds)


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
        for index, entry in optimizer.get("state", {}).items():  # a closed form has none
            for name in entry.keys() & {"exp_avg", "exp_avg_sq"}:  # Adam's; others have their own
                _require(index < len(parameters), f"there is no parameter {index}")
                own = parameters[index]
                _check(f"{name} of parameter {index}", entry[name], own.dtype, *own.shape)


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
            fix="train anew with a lower learning_rate; or go on from last.ckpt, "
            "which was saved before, with trainer.gradient_clip_val",
        )


def _floating(values: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(values, Tensor):
        if values.is_floating_point() and values.numel():
            yield name, values.detach()
    elif isinstance(values, Mapping | list):
        entries = values.items() if isinstance(values, Mapping) else enumerate(values)
        for key, value in entries:
            yield from _floating(value, f"{name}.{key}".lstrip("."))


def _sizes(name: str, *values: Any) -> None:
    _require(all(type(value) is int and value >= 1 for value in values), f"{name} are no sizes")


def _check(
    name: str,
    tensor: Any,
    dtype: torch.dtype,
    *shape: int | None,
    rows: tuple[int, int] | None = None,
) -> None:
    """Requires a finite tensor of a dtype and shape (None: any length), and of rows in bounds."""
    _require(isinstance(tensor, Tensor), f"{name} is no tensor")
    actual, wanted = list(tensor.shape), ["any" if size is None else size for size in shape]
    _require(
        tensor.dtype == dtype
        and len(actual) == len(shape)
        and all(want in ("any", have) for want, have in zip(wanted, actual, strict=True)),
        f"{name} is {tensor.dtype} {actual} instead of {dtype} {wanted}",
    )
    _require(not dtype.is_floating_point or bool(tensor.isfinite().all()), f"{name} is not finite")
    if rows is not None and tensor.numel():
        least, most = (int(value) for value in tensor.aminmax())
        _require(
            rows[0] <= least and most < rows[1],
            f"{name} have rows from {least} to {most}, of a table of {rows[1]}",
        )


def _require(holds: bool, found: str) -> None:
    if not holds:
        raise CheckpointError(
            f"the checkpoint does not fit: {found}",
            expected="what `fit` of this version wrote for this model",
            fix="use another checkpoint of the run; this one is altered or of another model",
        )
