"""One training run in as many processes as asked; each leaves its state behind.

python -m tests.ddp_run CATALOGUE OUT PROCESSES
"""

import json
import sys
from pathlib import Path

import torch

from slifmr_pl.callbacks.per_user import PerUserWriter
from slifmr_pl.callbacks.results import ResultTable
from slifmr_pl.losses.objective import LossConfig
from slifmr_pl.module import SlifMrModule
from tests.runs import Metrics, demo_data, every_epoch, full_model, trainer


def without_alignment() -> SlifMrModule:
    """The in-batch negatives of the alignment depend on how a batch is shared out; so, off."""
    return full_model(loss=LossConfig(ranking="softmax", alignment=0.0, l2=1e-3))


def main(catalogue: Path, out: Path, processes: int) -> None:
    torch.set_num_threads(1)
    module = without_alignment()
    metrics = Metrics()
    options = {"strategy": "ddp", "devices": processes} if processes > 1 else {}
    fit = trainer(out, 3, metrics, every_epoch(out / "epochs"), **options)
    fit.fit(module, datamodule=demo_data(catalogue, batch_size=131))  # odd shares
    torch.save(module.state_dict(), out / f"state-{fit.global_rank}.pt")
    test = trainer(out, 1, ResultTable(), PerUserWriter(), **options)
    test.test(module, datamodule=demo_data(catalogue, eval_batch_size=7), verbose=False)
    lists = trainer(out, 1, **options)
    predictions = lists.predict(
        module, datamodule=demo_data(catalogue, eval_batch_size=7), return_predictions=True
    )
    assert predictions is not None
    (out / f"lists-{fit.global_rank}.json").write_text(
        json.dumps([row for part in predictions for row in part.indices.tolist()])
    )
    if fit.is_global_zero:
        (out / "metrics.json").write_text(json.dumps(metrics.epochs))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
