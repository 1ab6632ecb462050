"""Our peers against public code: accuracy, time of an epoch, of validation, to the best epoch."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Kind, Report, Row
from benchmarks.report import REPOSITORY, readable_seconds
from benchmarks.settings import Settings
from slifmr_pl.errors import ConfigError

SEEDS = (1, 2, 3)
OURS, PAPER = "ours, as the public code", "ours, as the paper"
PUBLIC = {"mmrec": "MMRec", "selfrec": "SELFRec", "recbole": "RecBole"}


@dataclass(frozen=True)
class Peer:
    """One model with the same settings on both sides.

    Attributes:
        ours: Arguments of our class.
        theirs: What the public code calls them.
        only_code: Arguments that the paper does not have, for our reading of the public code.
        public: Whose code it is.
        epochs: Of every run; the best by validation is tested. Early stopping would end runs by
            chance, since validation wavers from epoch to epoch.
        learning_rate: Of both.
    """

    ours: Mapping[str, Any]
    theirs: Mapping[str, Any]
    only_code: Mapping[str, Any] = field(default_factory=dict)
    public: str = "mmrec"
    epochs: int = 10
    learning_rate: float = 5e-3


PEERS = {
    "Freedom": Peer(
        {"layers": 2, "item_layers": 1, "neighbours": 10, "image_weight": 0.1}
        | {"pruned": 0.8, "modality_weight": 1e-3},
        {"n_ui_layers": 2, "n_mm_layers": 1, "knn_k": 10, "mm_image_weight": 0.1}
        | {"dropout": 0.8, "reg_weight": 1e-3},
        epochs=30,
    ),
    "Bm3": Peer(
        {"layers": 1, "dropout": 0.3},
        {"n_layers": 1, "reg_weight": 0.1, "dropout": 0.3, "cl_weight": 2.0}
        | {"use_neg_sampling": False},
        {"alignment": 2.0, "l2": 0.1},
        epochs=20,
    ),
    "XSimGcl": Peer(
        {"layers": 2, "noise": 0.2, "contrast": 0.2, "temperature": 0.15}
        | {"contrasted_layer": 1, "l2": 1e-4},
        {"reg.lambda": 1e-4}
        | {"XSimGCL": {"n_layer": 2, "l_star": 1, "lambda": 0.2, "eps": 0.2, "tau": 0.15}},
        public="selfrec",
        learning_rate=1e-3,
        epochs=10,
    ),
    "Mgcn": Peer(
        {"layers": 2, "item_layers": 1, "neighbours": 10, "contrast": 0.01, "l2": 1e-4},
        {"n_ui_layers": 2, "n_layers": 1, "knn_k": 10, "cl_loss": 0.01, "reg_weight": 1e-4},
        epochs=10,
    ),
    "Lattice": Peer(
        {"layers": 2, "item_layers": 1, "neighbours": 10, "kept_share": 0.9, "l2": 1e-3},
        {"weight_size": [64, 64], "n_layers": 1, "knn_k": 10, "lambda_coeff": 0.9}
        | {"reg_weight": 1e-3, "cf_model": "lightgcn"},
        epochs=10,
    ),
    "Kgin": Peer(  # RecBole leaves out edges when it scores, too: nothing is left out here
        {"layers": 2, "intents": 4, "independence": 1e-4, "l2": 1e-5, "dropout": 0.0},
        {"context_hops": 2, "n_factors": 4, "sim_regularity": 1e-4, "reg_weight": 1e-5}
        | {"ind": "cosine", "node_dropout_rate": 0.0, "mess_dropout_rate": 0.0},
        public="recbole",
        epochs=8,
    ),
}


def benchmark(settings: Settings) -> Iterator[Report]:
    with tempfile.TemporaryDirectory() as scratch:
        data = settings.data
        if data is None:
            data = Path(scratch) / "generated"
            generate(data)
        chosen = settings.peers or tuple(PEERS)[: settings.scaled(len(PEERS), quick=1)]
        if unknown := set(chosen) - PEERS.keys():
            raise ConfigError(
                f"no peer {', '.join(sorted(unknown))}", expected=", ".join(PEERS), fix="name some"
            )
        for name in chosen:
            yield report(name, PEERS[name], linked(data, Path(scratch) / name), settings)


def report(name: str, peer: Peer, data: Path, settings: Settings) -> Report:
    """Trains with each seed, one side after the other.

    Args:
        name: Of the peer.
        peer: Its settings.
        data: A folder of MMRec's format.
        settings: Of the run.
    """
    theirs, place = PUBLIC[peer.public], place_of(peer.public, settings)
    sides = {
        OURS: ("ours", {**peer.ours, **peer.only_code, "follows": "code"}),
        PAPER: ("ours", {**peer.ours, "follows": "paper"}),
        theirs: (peer.public, dict(peer.theirs)),
    }
    seeds = SEEDS[: settings.scaled(len(SEEDS), quick=1)]
    rows, figures = [], {}
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for seed in seeds:
        for side, (kind, options) in sides.items():
            once = side == PAPER and seed != seeds[0]  # to see what the difference makes
            if not once and (kind == "ours" or place is not None):
                key = "learning.rate" if kind == "selfrec" else "learning_rate"
                request = options | {key: peer.learning_rate}
                runs[side].append(trained(name, peer, kind, request, seed, data, settings))
    ours = epoch_seconds(runs[OURS])
    for side, of_side in runs.items():
        kind_of_row: Kind = "baseline" if side == theirs else "ours"
        if not of_side:
            rows.append(Row(side, kind_of_row, note="not measured: give it, see --help"))
            continue
        samples = tuple(epoch_seconds([run]) for run in of_side)
        rows.append(
            Row(
                side,
                kind_of_row,
                samples,
                ratio=statistics.median(samples) / ours,
                memory=max(run["memory"] for run in of_side),
                note=summary(of_side),
            )
        )
        figures[side] = of_side
    return Report(
        f"{name}: CPU time of an epoch of training; {len(seeds)} seeds, "
        f"{peer.epochs} epochs, {settings.threads} threads",
        rows,
        figures,
        remarks=("test: full ranking, training items masked; mean ± standard deviation of seeds",),
    )


def place_of(public: str, settings: Settings) -> Path | None:
    """Where public code is: a checkout, for RecBole another interpreter; None if not named."""
    if public == "recbole":
        given = settings.recbole_python
        return None if given == Settings.recbole_python else given
    checkout: Path | None = getattr(settings, public, None)
    return None if checkout is None else checkout.absolute()


def epoch_seconds(runs: list[dict[str, Any]]) -> float:
    """The median over all epochs."""
    seconds: list[float] = [epoch for run in runs for epoch in run["epoch"]]
    return statistics.median(seconds)


def summary(runs: list[dict[str, Any]]) -> str:
    """Accuracy, and how long validation and the way to the best epoch take."""
    cells = []
    for metric in runs[0]["test"]:
        values = [run["test"][metric] for run in runs]
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        cells.append(f"{metric} {statistics.mean(values):.4f}{spread}")
    validation = statistics.median(seconds for run in runs for seconds in run["validation"])
    best = statistics.median(run["to_best"] for run in runs)
    epochs = [run["best_epoch"] for run in runs]
    cells.append(f"validation {readable_seconds(validation)}")
    cells.append(f"to the best epoch ({', '.join(map(str, epochs))}) {readable_seconds(best)}")
    return "; ".join(cells)


def trained(
    name: str,
    peer: Peer,
    side: str,
    options: dict[str, Any],
    seed: int,
    data: Path,
    settings: Settings,
) -> dict[str, Any]:
    """One run in a process of its own; see `benchmarks.peers_runner`."""
    with tempfile.TemporaryDirectory() as scratch:
        request = {
            "side": side,
            "model": name,
            "settings": options,
            "data": str(data),
            "features": sorted(path.name[: -len("_feat.npy")] for path in data.glob("*_feat.npy")),
            "batch_size": 2048,
            "dim": settings.dim,
            "seed": seed,
            "epochs": settings.scaled(peer.epochs, quick=2),
            "threads": settings.threads,
            "scratch": scratch,
            "public": str(place_of(side, settings) or ""),
        }
        environment = os.environ | {
            "OMP_NUM_THREADS": str(settings.threads),
            "PYTHONPATH": str(REPOSITORY),
        }
        python = str(settings.recbole_python) if side == "recbole" else sys.executable
        result = subprocess.run(
            [python, "-m", "benchmarks.peers_runner"],
            input=json.dumps(request) + "\n",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if result.returncode:
        raise RuntimeError(f"{name}, {side}, seed {seed}:\n{result.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    print(f"  {name}, {side}, seed {seed}: {summary([answer])}", file=sys.stderr, flush=True)
    return answer


def linked(data: Path, folder: Path) -> Path:
    """A folder of the same files, where MMRec may leave what it keeps for later runs."""
    folder.mkdir()
    for file in data.iterdir():
        if file.suffix in (".inter", ".npy", ".csv"):
            (folder / file.name).symlink_to(file.absolute())
    return folder


def generate(folder: Path, n_users: int = 60, n_items: int = 40) -> None:
    """Users who like the items of their cluster, which the features show, in MMRec's format."""
    folder.mkdir()
    random = np.random.default_rng(0)
    same = np.arange(n_users)[:, None] % 4 == np.arange(n_items) % 4
    users, items = np.nonzero(random.random((n_users, n_items)) < np.where(same, 0.7, 0.1))
    lines = ["userID\titemID\tx_label"]
    for number, (user, item) in enumerate(zip(users, items, strict=True)):
        lines.append(f"{user}\t{item}\t{(0, 0, 0, 1, 2)[number % 5]}")
    (folder / "generated.inter").write_text("\n".join(lines) + "\n", "utf-8")
    for name, size in (("image", 16), ("text", 12)):
        values = np.eye(4, size)[np.arange(n_items) % 4] + 0.1 * random.random((n_items, size))
        np.save(folder / f"{name}_feat.npy", values.astype(np.float32))
