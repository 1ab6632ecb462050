"""What the processes of one machine hold in memory while they train one model together.

python -m benchmarks.memory --processes 2

The data is random, of the size of Amazon-Book with its knowledge graph and two modalities;
`--scale` makes it smaller. A first process fills the caches. Shared pages count in each process by
their share (proportional set size), so that the sum over the processes is what the machine holds.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytorch_lightning as pl
import torch
from torch.multiprocessing.spawn import start_processes

from benchmarks.data import AMAZON_BOOK, AMAZON_BOOK_KG, generate, write_layout
from feature_extraction.stores.store import write_store
from slifmr_pl.data.dataset import SplitConfig
from slifmr_pl.data.features import ModalitySource
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.module import SlifMrModule

FEATURE_DIMS = {"image": 512, "text": 768}  # CLIP's, and that of BERT's base models
STEPS = 3


class Held(pl.Callback):
    """Writes what this process holds after a few steps, in MiB: shared by its share, and alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Waits until all processes are here, and have looked."""
        if batch_idx + 1 < STEPS:
            return
        trainer.strategy.barrier()
        lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()[1:]
        mib = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
        trainer.strategy.barrier()
        alone = mib["Private_Clean"] + mib["Private_Dirty"]
        (self.path / f"{trainer.global_rank}.txt").write_text(f"{mib['Pss']} {alone}")


def write_data(folder: Path, scale: float) -> None:
    """Interactions, triples and feature stores."""
    users, items, interactions = (round(scale * size) for size in AMAZON_BOOK)
    others, _, triples = (round(scale * size) for size in AMAZON_BOOK_KG)
    data = generate(users, items, interactions)
    write_layout(data, folder)
    rng = np.random.default_rng(1)
    rows = {
        "head_id": rng.integers(items, size=triples).astype(np.str_),
        "relation_id": rng.integers(AMAZON_BOOK_KG[1], size=triples).astype(np.str_),
        "tail_id": (items + rng.integers(others, size=triples)).astype(np.str_),
    }
    table = pa.table({name: pa.array(column) for name, column in rows.items()})
    pq.write_table(table, folder / "kg.parquet")
    for name, dim in FEATURE_DIMS.items():
        write_store(
            folder / name,
            ids=[str(item) for item in range(items)],
            features=rng.standard_normal((items, dim), dtype=np.float32),
            present=np.ones(items, dtype=np.bool_),
            manifest={"content_key": name},
        )


def train(folder: Path, strategy: str, processes: int) -> None:
    """A few steps, in one of the processes."""
    torch.set_num_threads(1)
    data = SlifMrDataModule(
        str(folder),
        split=SplitConfig("given"),
        modalities={name: ModalitySource(store=name) for name in FEATURE_DIMS},
        cache_dir=str(folder / "cache"),
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        strategy=strategy if processes > 1 else "auto",
        devices=processes,
        max_epochs=1,
        limit_train_batches=STEPS,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Held(folder)],
    )
    trainer.fit(SlifMrModule(), datamodule=data)


def work(rank: int, folder: Path, strategy: str, processes: int) -> None:
    """One process, with the environment that a launcher gives."""
    if processes > 1:
        os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511", "NODE_RANK": "0"}
    train(folder, strategy, processes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, options.scale)
        print("| strategy | process | MiB, shared pages by their share | MiB of its own |")
        print("|---|---|---|---|")
        start_processes(work, (folder, "ddp", 1), 1, start_method="spawn")  # fills the caches
        runs = [("one process", 1), ("ddp", options.processes), ("columns", options.processes)]
        for strategy, processes in runs:
            start_processes(work, (folder, strategy, processes), processes, start_method="spawn")
            for rank in range(processes):
                shared, alone = map(float, (folder / f"{rank}.txt").read_text().split())
                print(f"| {strategy} | {rank} | {shared:.0f} | {alone:.0f} |", flush=True)


if __name__ == "__main__":
    main()
