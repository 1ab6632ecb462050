"""Results that a person can read."""

from collections.abc import Mapping
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.table import Table
from torch import Tensor

from slifmr_pl.recommendation_datamodule import data_module_of
from slifmr_pl.runs.atomic_files import write_json
from slifmr_pl.runs.data_record import data_record
from slifmr_pl.runs.run_folders import RESULT_FILES, Stage


def metric_table(values: Mapping[str, float | Tensor], stage: str, title: str) -> Table:
    """Metrics as rows and cut-offs as columns.

    Args:
        values: Logged values; those named `STAGE/METRIC@K` are shown.
        stage: "val" or "test".
        title: Heading.
    """
    cells: dict[tuple[str, int], float] = {}
    for name, value in values.items():
        if name.startswith(f"{stage}/") and "@" in name:
            metric, cutoff = name.removeprefix(f"{stage}/").split("@")
            cells[metric, int(cutoff)] = float(value)
    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    ks = sorted({k for _, k in cells})
    for k in ks:
        table.add_column(f"@{k}", justify="right")
    for metric in dict.fromkeys(metric for metric, _ in cells):
        decimals = 1 if metric == "popularity" else 4
        table.add_row(metric, *(f"{cells[metric, k]:.{decimals}f}" for k in ks))
    return table


class ResultTable(Callback):
    """Prints the metrics of `validate` and `test` with their protocol, and keeps them as JSON."""

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the test table."""
        data = data_module_of(trainer)
        competing = "All items" if data.test_items == "all" else "Cold items alone"
        self._print(trainer, "test", data.test_masks, competing)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the validation table; not inside `fit`, where the progress bar shows it."""
        if trainer.state.fn == "validate":
            self._print(trainer, "val", "train")

    def _print(
        self, trainer: pl.Trainer, stage: Stage, masks: str, competing: str = "All items"
    ) -> None:
        folder = trainer.log_dir  # asks all processes
        if not trainer.is_global_zero:
            return
        values = trainer.callback_metrics
        users = int(values[f"{stage}/n_users"])
        without = int(values[f"{stage}/n_users_without_relevant"])
        protocol = (
            f"{competing} compete; {masks} items of a user are masked; "
            f"{without} users without {stage} items are left out."
        )
        console = Console()
        console.print(metric_table(values, stage, f"{stage}: full ranking, {users} users"))
        console.print(protocol)
        if folder is None:
            return
        record = {
            "checkpoint": None if trainer.ckpt_path is None else str(trainer.ckpt_path),
            "protocol": protocol,
            "masks": masks,
            "data": data_record(data_module_of(trainer)),
            "metrics": {
                name: float(value) for name, value in values.items() if name.startswith(f"{stage}/")
            },
        }
        path = Path(folder) / RESULT_FILES[stage]
        write_json(path, record)
        console.print(f"Written to {path}")
