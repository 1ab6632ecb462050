"""An experiment with the full model, its ablations and baselines, as a Markdown table.

python -m benchmarks.ablations configs/experiment/ml-100k.yaml DATA_FOLDER --seeds 1 2 3 --jobs 2
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
ROWS = {
    "SLIF-MR": [],
    "without self-loop": ["without_self_loop"],
    "without knowledge graph": ["without_knowledge"],
    "without modality": ["without_modality"],
    "without alignment": ["without_alignment"],
    "without regression": ["without_regression"],
    "frozen multimodal graph": ["frozen_multimodal"],
    "LightGCN, same objective": ["lightgcn"],
    "LightGCN as published": ["lightgcn_bpr"],
    "knowledge only": ["knowledge_only"],
    "matrix factorisation": ["matrix_factorisation"],
    "BPR-MF as published": ["bpr_mf"],
    "VBPR": ["vbpr"],
    "EASE": ["ease"],
    "ItemKNN": ["item_knn"],
    "MostPop": ["most_popular"],
}
METRICS = ("recall@20", "ndcg@20", "recall@10", "ndcg@10")


def run(name: str, configs: list[str], seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Trains and tests one configuration with one seed; returns its test metrics."""
    folder = (
        options.out / options.config.stem / name.replace(" ", "_").replace(",", "") / f"seed{seed}"
    )
    command = [sys.executable, "lightning_cli.py"]
    fit = ["fit", "--config", str(options.config)]
    for config in configs:
        fit += ["--config", f"configs/model/{config}.yaml"]
    fit += ["--data.root", str(options.root), "--seed_everything", str(seed)]
    fit += ["--trainer.default_root_dir", str(folder), "--trainer.accelerator", options.accelerator]
    fit += ["--trainer.enable_progress_bar", "false", *options.extra]
    call([*command, *fit], options)
    newest = max(folder.glob("*/version_*"), key=lambda path: path.stat().st_mtime)
    (best,) = (newest / "checkpoints").glob("epoch*.ckpt")
    call(
        [*command, "test", "--config", str(newest / "config.yaml"), "--ckpt_path", str(best)],
        options,
    )
    metrics: dict[str, float] = json.loads((newest / "test.json").read_text())["metrics"]
    return metrics


def call(command: list[str], options: argparse.Namespace) -> None:
    threads = {"OMP_NUM_THREADS": str(options.threads)}
    result = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ | threads,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}\n{result.stdout}\n{result.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=lambda text: Path(text).resolve())
    parser.add_argument("root", type=lambda text: Path(text).resolve(), help="data folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of a run")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--out", type=lambda text: Path(text).resolve(), default=Path("runs/study"))
    parser.add_argument("--extra", nargs=argparse.REMAINDER, default=[], help="passed to every fit")
    options = parser.parse_args()
    with ThreadPoolExecutor(options.jobs) as pool:
        jobs = {
            name: [pool.submit(run, name, ROWS[name], seed, options) for seed in options.seeds]
            for name in options.rows
        }
        print("| model | " + " | ".join(METRICS) + " |")
        print("|---" * (len(METRICS) + 1) + "|", flush=True)
        for name, seeds in jobs.items():
            cells = []
            for metric in METRICS:
                values = [job.result()[f"test/{metric}"] for job in seeds]
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                cells.append(f"{statistics.mean(values):.4f} ± {spread:.4f}")
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
