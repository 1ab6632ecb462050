"""Trains a peer once with public code; see `benchmarks.peers_runner`.

Models, batches and training loops run as they are. Modules that they import and do not use here are
empty, so that what those need (lmdb, numba) does not have to be installed: MMRec's reading of
pictures from a database, and SELFRec's evaluation.
"""

import os
import random
import sys
import time
from collections.abc import Mapping, Set
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers_clock import METRICS, Clock
from benchmarks.probes import resident_peak, restart_peak
from benchmarks.recbole_runner import restore_aliases


def mmrec(request: dict[str, Any]) -> dict[str, Any]:
    """The model of the same name of MMRec, with its loaders, trainer and evaluator."""
    source = Path(request["public"]) / "src"
    sys.path.insert(0, str(source))
    os.chdir(source)  # where it looks for its configurations
    restore_aliases()
    pictures = ModuleType("utils.data_utils")
    names = ("ImageResize", "ImagePad", "image_to_tensor", "load_decompress_img_from_lmdb_value")
    pictures.__dict__.update(dict.fromkeys(names))
    sys.modules["utils.data_utils"] = pictures
    sys.modules.setdefault("lmdb", ModuleType("lmdb"))
    stay_on_cpu()
    from common.trainer import Trainer  # type: ignore[import-not-found]
    from utils.configurator import Config  # type: ignore[import-not-found]
    from utils.dataloader import EvalDataLoader, TrainDataLoader  # type: ignore[import-not-found]
    from utils.dataset import RecDataset  # type: ignore[import-not-found]
    from utils.utils import get_model, init_seed  # type: ignore[import-not-found]

    folder = Path(request["data"])
    features = {"image": "vision_feature_file", "text": "text_feature_file"}
    settings = {
        **dict.fromkeys(features.values(), "absent"),
        **{features[name]: f"{name}_feat.npy" for name in request["features"]},
        **request["settings"],
        "data_path": f"{folder.parent}/",
        "inter_file_name": next(folder.glob("*.inter")).name,
        "USER_ID_FIELD": "userID",
        "ITEM_ID_FIELD": "itemID",
        "filter_out_cod_start_users": False,
        "embedding_size": request["dim"],
        "feat_embed_dim": request["dim"],
        "train_batch_size": request["batch_size"],
        "epochs": request["epochs"],
        "stopping_step": request["epochs"],
        "learning_rate_scheduler": [1.0, 50],
        "use_gpu": False,
        "seed": request["seed"],
        "metrics": ["Recall", "NDCG"],
        "topk": [20],
    }
    config = Config(request["model"].upper(), folder.name, settings)
    init_seed(request["seed"])
    train, valid, test = parts = RecDataset(config).split()
    for part in parts:
        str(part)  # which is what counts its rows
    batches = TrainDataLoader(config, train, batch_size=request["batch_size"], shuffle=True)
    held_out = [
        EvalDataLoader(config, part, additional_dataset=train, batch_size=4096)
        for part in (valid, test)
    ]
    batches.pretrain_setup()
    model = get_model(config["model"])(config, batches)
    clock = Clock()

    class Timed(Trainer):  # type: ignore[misc]
        def _train_epoch(self, *args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            result = super()._train_epoch(*args, **kwargs)
            clock.epochs.append(preparing.pop() + time.process_time() - start)
            return result

        def evaluate(self, data: Any, *args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            result = super().evaluate(data, *args, **kwargs)
            if data is held_out[0]:  # it reads the test part in every epoch, too
                clock.validations.append(time.process_time() - start)
                clock.validated(result["recall@20"])
            return result

    preparing: list[float] = []
    prepare = model.pre_epoch_processing

    def timed_preparation() -> None:
        start = time.process_time()
        prepare()
        preparing.append(time.process_time() - start)

    model.pre_epoch_processing = timed_preparation
    before = restart_peak()
    trainer = Timed(config, model)
    *_, best = trainer.fit(batches, valid_data=held_out[0], test_data=held_out[1], verbose=False)
    return clock.answer(resident_peak() - before, {name: float(best[name]) for name in METRICS})


def selfrec(request: dict[str, Any]) -> dict[str, Any]:
    """SELFRec's XSimGCL with its batches and training loop, ranked by the protocol of the others.

    Its own evaluation would read the test part in every epoch.
    """
    sys.path.insert(0, request["public"])
    os.chdir(request["scratch"])  # where it leaves its logs
    stay_on_cpu()
    sys.modules["util.evaluation"] = evaluation = ModuleType("util.evaluation")
    sys.modules["util.algorithm"] = algorithm = ModuleType("util.algorithm")
    evaluation.ranking_evaluation = algorithm.find_k_largest = None  # type: ignore[attr-defined]
    from model.graph.XSimGCL import XSimGCL  # type: ignore[import-not-found]

    parts = parts_of(Path(request["data"]))
    seed_everything(request["seed"])
    settings = {
        "model": {"name": "XSimGCL", "type": "graph"},
        "item.ranking.topN": [20],
        "embedding.size": request["dim"],
        "max.epoch": request["epochs"],
        "batch.size": request["batch_size"],
        "output": request["scratch"],
        **request["settings"],
    }
    clock, kept = Clock(), {}

    class Timed(XSimGCL):  # type: ignore[misc]
        start = 0.0

        def fast_evaluation(self, epoch: int) -> None:
            clock.epochs.append(time.process_time() - self.start)
            start = time.process_time()
            value = self.measured(parts[1])["recall@20"]
            clock.validations.append(time.process_time() - start)
            clock.validated(value)
            if clock.best_epoch == len(clock.epochs):
                kept.update(self.measured(parts[2]))
                self.save()  # it ends with the vectors that were saved
            self.start = time.process_time()

        def measured(self, part: list[list[Any]]) -> dict[str, float]:
            return measured(
                self.user_emb @ self.item_emb.T, parts[0], part, self.data.user, self.data.item
            )

    before = restart_peak()
    model = Timed(settings, parts[0], parts[2])
    model.start = time.process_time()
    model.train()
    return clock.answer(resident_peak() - before, kept)


def recbole(request: dict[str, Any]) -> dict[str, Any]:
    """RecBole's KGIN with its loader and its trainer's epochs, ranked by the same protocol."""
    restore_aliases()
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    source, folder = Path(request["data"]), Path(request["scratch"]) / "set"
    parts = write_atomic_files(source, folder)
    config = Config(
        model=request["model"].upper(),
        dataset="set",
        config_dict={
            "data_path": request["scratch"],
            "benchmark_filename": ["train", "valid", "test"],
            "load_col": {
                "inter": ["user_id", "item_id"],
                "kg": ["head_id", "relation_id", "tail_id"],
                "link": ["item_id", "entity_id"],
            },
            "embedding_size": request["dim"],
            "train_batch_size": request["batch_size"],
            "seed": request["seed"],
            "use_gpu": False,
            "show_progress": False,
            "state": "ERROR",
            "checkpoint_dir": request["scratch"],
            **request["settings"],
        },
    )
    init_seed(config["seed"], config["reproducibility"])
    data = create_dataset(config)
    train, _, _ = data_preparation(config, data)
    model = get_model(config["model"])(config, train._dataset)  # of the training part alone
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    users, items = (
        {raw: int(data.token2id(field, raw)) for raw in {row[place] for row in chain(*parts)}}
        for place, field in enumerate(("user_id", "item_id"))
    )
    clock, kept, before = Clock(), {}, restart_peak()
    for epoch in range(request["epochs"]):
        start = time.process_time()
        trainer._train_epoch(train, epoch)
        clock.epochs.append(time.process_time() - start)
        start = time.process_time()
        with torch.no_grad():
            of_users, of_entities, _ = model.eval()()
            scores = of_users @ of_entities[: model.n_items].T
        scores[:, 0] = -torch.inf  # padding
        valid = measured(scores.clone(), parts[0], parts[1], users, items)
        clock.validations.append(time.process_time() - start)
        clock.validated(valid["recall@20"])
        if clock.best_epoch == len(clock.epochs):
            kept = measured(scores, parts[0], parts[2], users, items)
    return clock.answer(resident_peak() - before, kept)


def write_atomic_files(source: Path, folder: Path) -> list[list[list[Any]]]:
    """RecBole's files of a folder of MMRec's format with `kg.csv`, facts in both directions.

    Returns:
        Raw user and item of each interaction, by part.
    """
    folder.mkdir()
    mapping = (source / "i_id_mapping.csv").read_text("utf-8").splitlines()[1:]
    raw = [line.split("\t")[0] for line in mapping]
    parts = [[[user, raw[int(item)], 1.0] for user, item, _ in part] for part in parts_of(source)]
    for name, part in zip(("train", "valid", "test"), parts, strict=True):
        lines = [f"{user}\t{item}" for user, item, _ in part]
        text = "\n".join(["user_id:token\titem_id:token", *lines])
        (folder / f"set.{name}.inter").write_text(text + "\n", "utf-8")
    facts = [line.split(",") for line in (source / "kg.csv").read_text("utf-8").splitlines()[1:]]
    both = [f"{h}\t{r}\t{t}" for h, r, t in facts] + [f"{t}\t{r}'\t{h}" for h, r, t in facts]
    head = "head_id:token\trelation_id:token\ttail_id:token"
    (folder / "set.kg").write_text("\n".join([head, *both]) + "\n", "utf-8")
    links = ["item_id:token\tentity_id:token", *(f"{item}\t{item}" for item in raw)]
    (folder / "set.link").write_text("\n".join(links) + "\n", "utf-8")
    return parts


def parts_of(folder: Path) -> list[list[list[Any]]]:
    """User, item and a 1, as SELFRec takes them, of each interaction of a folder, by part."""
    (file,) = folder.glob("*.inter")
    rows = [line.split("\t") for line in file.read_text("utf-8").splitlines()[1:]]
    return [[[user, item, 1.0] for user, item, part in rows if part == label] for label in "012"]


def measured(
    scores: Tensor,
    train: list[list[Any]],
    part: list[list[Any]],
    users: Mapping[str, int],
    items: Mapping[str, int],
) -> dict[str, float]:
    """Full ranking of all items, those of training masked; users without training are left out.

    Args:
        scores: float [U, I], which are changed.
        train: Raw user and item of each training interaction.
        part: The same of the part that is measured.
        users: Row of each raw user.
        items: Row of each raw item; one that is not there cannot be found.
    """
    for user, item, _ in train:
        scores[users[user], items[item]] = -torch.inf
    lists = scores.topk(20).indices.tolist()
    relevant: dict[str, set[int | str]] = {}
    for user, item, _ in part:
        relevant.setdefault(user, set()).add(items.get(item, item))
    known = {user for user, _, _ in train}
    values = [
        recall_and_ndcg(lists[users[user]], wanted)
        for user, wanted in relevant.items()
        if user in known
    ]
    return dict(zip(METRICS, np.mean(values, axis=0).tolist(), strict=True))


def recall_and_ndcg(ranked: list[int], relevant: Set[int | str]) -> tuple[float, float]:
    """Of one user, at the length of the list."""
    hits = [item in relevant for item in ranked]
    discounts = 1 / np.log2(np.arange(2, len(ranked) + 2))
    ideal = discounts[: min(len(relevant), len(ranked))].sum()
    return sum(hits) / len(relevant), float((discounts * hits).sum() / ideal)


def stay_on_cpu() -> None:
    """SELFRec, and LATTICE of MMRec, call `.cuda()` unasked: it leaves everything where it is."""
    torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    torch.nn.Module.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]


def seed_everything(seed: int) -> None:
    """Python's, numpy's and torch's numbers."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # what the public code draws from
    torch.manual_seed(seed)


SIDES = {"mmrec": mmrec, "selfrec": selfrec, "recbole": recbole}
