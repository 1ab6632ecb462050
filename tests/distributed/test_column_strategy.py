"""Two processes that share the columns out against one that holds all of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.demos.boring_classes import BoringModel
from torch import Tensor

from slifmr_pl.errors import ConfigError
from slifmr_pl.nn.network_config import NetworkConfig
from tests.distributed.ddp_run import (
    VARIANTS,
    fit_and_predict,
    lists,
    load,
    options,
    read,
    resume,
    validate,
)
from tests.processes import in_processes
from tests.tiny_runs import demo_data, full_model, trainer

Runs = dict[str, tuple[Path, Path]]
# The last parts of the names of tables; all else is the same in every process.
SHARED = ("user_embedding", "item_embedding", "entity_embedding", "relation_weight", "missing")
every_variant = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(scope="module")
def runs(catalogue: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Folders of the same run in one process and in two, by variant."""
    folders = {}
    for variant in VARIANTS:
        folders[variant] = (tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two"))
        one, two = folders[variant]
        fit_and_predict(catalogue, one, "columns", variant)
        in_processes(2, fit_and_predict, catalogue, two, "columns", variant)
    return folders


def checkpoint(run: Path, epoch: int) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(run / "epochs" / f"epoch={epoch}.ckpt", weights_only=True)
    return loaded


def assert_same(found: Any, expected: Any, name: str) -> None:
    """The same structure, and floats that differ by the order of sums alone.

    Adam makes as much of a small gradient as of a large one, and so of its last bits.
    """
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), name
        for key, value in expected.items():
            assert_same(found[key], value, f"{name}.{key}")
    elif isinstance(expected, Tensor) and expected.is_floating_point():
        atol = 1e-3 * float(expected.abs().max()) if expected.numel() else 0.0
        torch.testing.assert_close(
            found, expected, rtol=1e-4, atol=atol, msg=lambda text: f"{name}: {text}"
        )
    elif isinstance(expected, Tensor):
        assert torch.equal(found, expected), name
    else:
        assert found == expected, name


@every_variant
@pytest.mark.parametrize("epoch", [0, 2])
def test_checkpoints_are_those_of_one_process(runs: Runs, variant: str, epoch: int) -> None:
    expected, actual = (checkpoint(run, epoch) for run in runs[variant])
    assert_same(actual["state_dict"], expected["state_dict"], "state_dict")
    for name in ("state", "param_groups"):
        moments, others = (one["optimizer_states"][0][name] for one in (expected, actual))
        assert_same(others, moments, f"optimizer.{name}")


@every_variant
def test_losses_metrics_and_lists_are_those_of_one_process(runs: Runs, variant: str) -> None:
    one, two = runs[variant]
    for file, tolerance in (("losses.json", 1e-5), ("metrics.json", 1e-9)):
        expected, actual = read(one / file), read(two / file)
        assert actual.keys() == expected.keys() == {"0", "1", "2"}
        for epoch, values in expected.items():
            assert actual[epoch] == pytest.approx(values, rel=tolerance), (file, epoch)
    assert [row for share in lists(two, 2) for row in share] == lists(one, 1)[0]


@every_variant
def test_each_process_holds_half_of_every_table_and_the_same_of_all_else(
    runs: Runs, variant: str
) -> None:
    one, two = runs[variant]
    whole = load(one / "state-0.pt")
    first, second = (load(two / f"state-{rank}.pt") for rank in range(2))
    for name, expected in whole.items():
        if name.rpartition(".")[2] in SHARED:
            assert first[name].shape == second[name].shape == (*expected.shape[:-1], 8)
        else:
            assert torch.equal(first[name], second[name]), name


def test_any_number_of_processes_goes_on_from_a_checkpoint(
    runs: Runs, catalogue: Path, tmp_path: Path
) -> None:
    expected, made_by_two = runs["early"]
    resume(catalogue, tmp_path / "one", made_by_two / "epochs" / "epoch=1.ckpt")
    in_processes(2, resume, catalogue, tmp_path / "two", expected / "epochs" / "epoch=1.ckpt")
    straight = checkpoint(expected, 2)
    for folder in ("one", "two"):
        resumed = checkpoint(tmp_path / folder, 2)
        assert_same(resumed["state_dict"], straight["state_dict"], folder)
        assert_same(resumed["optimizer_states"][0], straight["optimizer_states"][0], folder)


def test_metrics_of_a_checkpoint_are_the_same_for_one_and_two_processes(
    runs: Runs, catalogue: Path, tmp_path: Path
) -> None:
    path = runs["early"][1] / "epochs" / "epoch=0.ckpt"
    noted = read(runs["early"][1] / "metrics.json")["0"]
    values = [noted[name] for name in sorted(noted)]
    measured = in_processes(2, validate, catalogue, tmp_path, path)
    assert measured == [values, values]
    assert validate(catalogue, tmp_path, path) == pytest.approx(values, rel=1e-12)


def refusal(catalogue: Path, out: Path, dim: int, settings: dict[str, Any]) -> str:
    fit = trainer(out, 1, enable_checkpointing=False, **options("columns"), **settings)
    try:
        fit.fit(full_model(network=NetworkConfig(dim)), datamodule=demo_data(catalogue))
    except ConfigError as error:
        return str(error)
    return "no error"


@pytest.mark.parametrize(
    ("dim", "settings", "message"),
    [
        (15, {}, "15 embedding columns for 2 processes"),
        (16, {"gradient_clip_val": 1.0}, "clipped by their norm"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(
    catalogue: Path, cache: Path, tmp_path: Path, dim: int, settings: dict[str, Any], message: str
) -> None:
    refusals = in_processes(2, refusal, catalogue, tmp_path, dim, settings)
    assert all(message in text for text in refusals)


def test_a_module_without_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="strategy columns with BoringModel"):
        trainer(tmp_path, 1, strategy="columns").fit(BoringModel())
