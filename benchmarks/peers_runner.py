"""Trains a peer once, ours or of public code, in a process of its own, for `benchmarks.peers`.

Reads a request, a line of JSON, from standard input, and ends its output with the answer, another.
"""

import contextlib
import json
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks import peers_public
from benchmarks.peers_clock import METRICS, Clock
from benchmarks.probes import resident_peak, restart_peak


def ours(request: dict[str, Any]) -> dict[str, Any]:
    """One of our peers in Lightning's Trainer, which keeps the best epoch as `fit` does."""
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import ModelCheckpoint

    from feature_extraction.tables.table_files import read_table
    from slifmr_pl import FrozenFeatures, RawData, SlifMrDataModule, SplitConfig, Vocabulary, models
    from slifmr_pl.data.formats.mmrec import MMRecReader

    clock = Clock()

    class Watch(pl.Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            self.start = time.process_time()

        def on_validation_start(self, *_: Any) -> None:
            clock.epochs.append(time.process_time() - self.start)
            self.start = time.process_time()

        def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
            clock.validations.append(time.process_time() - self.start)
            clock.validated(float(trainer.callback_metrics["val/recall@20"]))

    class FolderOfMMRec(SlifMrDataModule):
        def tables(self) -> RawData:
            facts = self.root / "kg.csv"
            raw = super().tables()
            return replace(raw, kg=read_table(facts)) if facts.is_file() else raw

        def features(self, items: Vocabulary) -> dict[str, FrozenFeatures]:
            arrays = MMRecReader().tables(self.root).features
            found = {}
            for name in request["features"]:
                rows = {item: row for row, item in enumerate(arrays[name].ids)}
                order = [rows[item] for item in items.ids.to_pylist()]
                values = np.asarray(arrays[name].features, np.float32)[order]
                found[name] = FrozenFeatures(values, np.asarray(values.any(axis=1)))
            return found

    data = FolderOfMMRec(
        request["data"],
        format=MMRecReader(),
        split=SplitConfig(strategy="given"),
        batch_size=request["batch_size"],
        negatives=1,
        test_masks="train",
        seed=request["seed"],
    )
    pl.seed_everything(request["seed"], verbose=False)
    model = getattr(models, request["model"])(
        **request["settings"], embedding_dim=request["dim"], ks=(20,)
    )
    saver = ModelCheckpoint(request["scratch"], monitor="val/recall@20", mode="max")
    before = restart_peak()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=request["epochs"],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[Watch(), saver],
    )
    trainer.fit(model, datamodule=data)
    memory = resident_peak() - before
    (values,) = trainer.test(
        model, datamodule=data, ckpt_path=saver.best_model_path, verbose=False, weights_only=True
    )
    return clock.answer(memory, {name: values[f"test/{name}"] for name in METRICS})


def main() -> None:
    """Answers one request."""
    request = json.loads(sys.stdin.readline())
    torch.set_num_threads(request["threads"])
    with contextlib.redirect_stdout(sys.stderr):
        public = peers_public.SIDES.get(request["side"])
        answer = ours(request) if public is None else public(request)
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
