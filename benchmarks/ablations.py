"""An experiment with the full model, its ablations and baselines, as a Markdown table.

Runs that have finished are kept: the same command goes on where it was stopped.

python -m benchmarks.ablations experiment/ml-100k DATA_FOLDER --seeds 1 2 3 --jobs 2
"""

import argparse
from functools import partial
from pathlib import Path

from slifmr_pl.config.presets import configuration
from slifmr_pl.studies.runs import Job, ensure_fitted, ensure_tested, in_parallel
from slifmr_pl.studies.statistics import mean_and_std

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


def run(options: argparse.Namespace, row: tuple[str, int]) -> dict[str, float]:
    """Trains and tests one configuration with one seed; returns its test metrics."""
    name, seed = row
    place = options.out / options.config.stem / name.replace(" ", "_").replace(",", "")
    job = Job(
        place / f"seed{seed}",
        (options.config, *(configuration(f"model/{config}") for config in ROWS[name])),
        {
            "data.root": str(options.root),
            "trainer.accelerator": options.accelerator,
            **dict(options.set),
            "seed_everything": seed,
        },
    )
    return ensure_tested(ensure_fitted(job, options.threads), options.threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=lambda text: configuration(text).resolve())
    parser.add_argument("root", type=lambda text: Path(text).resolve(), help="data folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of a run")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--out", type=lambda text: Path(text).resolve(), default=Path("runs/study"))
    parser.add_argument(
        "--set",
        type=lambda text: text.split("=", 1),
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of all runs; give it again for the next",
    )
    options = parser.parse_args()
    runs = [(name, seed) for name in options.rows for seed in options.seeds]
    of_run = dict(zip(runs, in_parallel(partial(run, options), runs, options.jobs), strict=True))
    print("| model | " + " | ".join(METRICS) + " |")
    print("|---" * (len(METRICS) + 1) + "|")
    for name in options.rows:
        cells = []
        for metric in METRICS:
            mean, std = mean_and_std([of_run[name, seed][metric] for seed in options.seeds])
            cells.append(f"{mean:.4f} ± {std or 0.0:.4f}")
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
