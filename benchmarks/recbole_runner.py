"""Runs RecBole's LightGCN for `benchmarks.recbole`, in whatever interpreter has RecBole.

Reads requests from standard input and answers on standard output, a line of JSON each. Imports
nothing of the package. RecBole 1.2.1 is older than NumPy 2 and SciPy 1.17: what it misses of them
is put back here, in this process alone.
"""

import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

from benchmarks.probes import peak_memory, seconds_of

NAME = "benchmark"


def restore_aliases() -> None:
    """Names of NumPy 1 and of SciPy's dictionary matrices that RecBole uses."""
    for alias, target in (
        ("float", np.float64),
        ("float_", np.float64),
        ("complex_", np.complex128),
        ("object_", np.object_),
        ("str_", np.str_),
        ("unicode_", np.str_),
        ("bool8", np.bool_),
    ):
        if not hasattr(np, alias):
            setattr(np, alias, target)
    if not hasattr(scipy.sparse.dok_matrix, "_update"):
        scipy.sparse.dok_matrix._update = lambda self, entries: self._dict.update(entries)


class LightGCN:
    """RecBole's data set, loader, model and trainer over the inputs in a folder.

    Args:
        folder: What `benchmarks.recbole` wrote.
    """

    def __init__(self, folder: Path) -> None:
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation
        from recbole.trainer import Trainer
        from recbole.utils import get_model, init_seed

        self.folder = folder
        options = json.loads((folder / "options.json").read_text("utf-8"))
        torch.set_num_threads(options["threads"])
        with np.load(folder / "inputs.npz", allow_pickle=False) as arrays:
            self.inputs = dict(arrays)
        self._write_atomic_files()
        config = Config(
            model="LightGCN",
            config_dict={
                "dataset": NAME,
                "data_path": str(folder),
                "benchmark_filename": ["train", "valid", "test"],
                "load_col": {"inter": ["user_id", "item_id"]},
                "embedding_size": options["dim"],
                "n_layers": options["layers"],
                "reg_weight": options["l2"],
                "require_pow": True,
                "learning_rate": options["learning_rate"],
                "train_batch_size": options["batch_size"],
                "use_gpu": options["gpu"],
                "show_progress": False,
                "state": "ERROR",
                "checkpoint_dir": str(folder),
            },
        )
        init_seed(config["seed"], config["reproducibility"])
        data = create_dataset(config)
        self.loader, _, _ = data_preparation(config, data)
        self.model = get_model("LightGCN")(config, self.loader.dataset).to(config["device"])
        self.trainer = Trainer(config, self.model)
        self.users, self.items = (
            np.array([data.token2id(field, str(row)) for row in range(len(self.inputs[table]))])
            for field, table in (("user_id", "users"), ("item_id", "items"))
        )
        with torch.no_grad():
            for table, rows, weight in self._tables():
                weight[rows] = torch.from_numpy(self.inputs[table]).to(weight.device)
        self._stream = self._endless()
        self._memory: int | None = None

    def train(self, steps: int) -> dict[str, float | int | None]:
        """Time of a step, in an epoch of RecBole's that ends after `steps`."""
        device = self.model.device

        def epoch() -> None:
            self.trainer._train_epoch(_Some(islice(self._stream, steps)), 0)

        if self._memory is None:
            self._memory = peak_memory(epoch, device)
        return {"seconds": seconds_of(epoch, 1, device) / steps, "memory": self._memory}

    def check(self) -> dict[str, float]:
        """Writes gradients of the first batch, losses of all, and how far embeddings moved."""
        from recbole.data.interaction import Interaction

        names = sorted(name for name in self.inputs if name.startswith("batch"))
        batches = [
            Interaction(
                {
                    "user_id": torch.from_numpy(self.users[users]),
                    "item_id": torch.from_numpy(self.items[positives]),
                    "neg_item_id": torch.from_numpy(self.items[negatives]),
                }
            )
            for users, positives, negatives in (self.inputs[name] for name in names)
        ]
        self.model.calculate_loss(batches[0].to(self.model.device)).sum().backward()
        result = {}
        for table, rows, weight in self._tables():
            result[f"{table[:-1]}_gradients"] = weight.grad[rows].cpu().numpy()
        self.model.zero_grad()
        losses = [self.trainer._train_epoch(_Some([batch]), 0) for batch in batches]
        result["losses"] = np.array(losses, dtype=np.float32)
        result["distance_moved"] = np.array(
            [
                np.abs(weight[rows].detach().cpu().numpy() - self.inputs[table]).mean()
                for table, rows, weight in self._tables()
            ],
            dtype=np.float32,
        )
        np.savez(self.folder / "result.npz", **result)
        return {}

    def _tables(self) -> Iterator[tuple[str, Any, Any]]:
        yield "users", self.users, self.model.user_embedding.weight
        yield "items", self.items, self.model.item_embedding.weight

    def _endless(self) -> Iterator[Any]:
        while True:
            yield from self.loader

    def _write_atomic_files(self) -> None:
        folder = self.folder / NAME
        folder.mkdir()
        test = self.inputs["test"]
        half = test.shape[1] // 2
        for part, pairs in (
            ("train", self.inputs["train"]),
            ("valid", test[:, :half]),
            ("test", test[:, half:]),
        ):
            lines = "".join(f"{user}\t{item}\n" for user, item in pairs.T.tolist())
            text = f"user_id:token\titem_id:token\n{lines}"
            (folder / f"{NAME}.{part}.inter").write_text(text, "ascii")


class _Some:
    """Batches that pass for one of RecBole's loaders."""

    shuffle = False

    def __init__(self, batches: Any) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self._batches)


def main(folder: Path) -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    sys.stdout = sys.stderr  # RecBole prints
    restore_aliases()
    model: LightGCN | None = None
    for line in sys.stdin:
        request = json.loads(line)
        work = request.pop("work")
        answer: dict[str, Any] = {}
        if work == "load":
            model = LightGCN(folder)
        elif work == "train":
            assert model is not None
            answer = model.train(**request)
        elif work == "check":
            assert model is not None
            answer = model.check()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
