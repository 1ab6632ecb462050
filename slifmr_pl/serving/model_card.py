"""The model card: what a model is, what it was trained on, and how well it ranks."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from slifmr_pl import __version__
from slifmr_pl.checkpoints.settings import RUN_TIME
from slifmr_pl.config.parts import class_path
from slifmr_pl.models.base import RecommenderModule
from slifmr_pl.runs.reading import read_result
from slifmr_pl.runs.run_folders import RESULT_FILES, run_folder

_TEST_FIRST = "Not measured: run `slifmr test` with this checkpoint, then export again."


def model_card(module: RecommenderModule, checkpoint: Path, manifest: Mapping[str, Any]) -> str:
    """Markdown, with placeholders for what only people know.

    Args:
        module: The exported model.
        checkpoint: Its file; `test.json` of its run's folder gives the metrics.
        manifest: Of the export.

    Raises:
        RunError: If `test.json` is damaged.
    """
    assert module.inputs is not None
    graph = module.inputs.graph
    facts = 0 if graph.triples is None else len(graph.triples) // 2
    modalities = ", ".join(graph.modalities) or "none"
    settings = yaml.safe_dump(settings_of(module), sort_keys=False).rstrip()
    return f"""# Model card

A recommender, {type(module).__name__} (slifmr_pl {__version__}): it ranks items for known users.

- Licence of the model: [to be filled in]
- Licence and source of the data: [to be filled in]
- Contact: [to be filled in]

## Intended use

[To be filled in: where its lists are shown, to whom, and what it must not decide.]

{_scope(manifest)} Lists favour items with many
interactions; see popularity, novelty and coverage below. What is exported of users, and `seen_items` are personal data
where user ids are.

## Data

| | |
|---|---|
| users | {graph.n_users:,} |
| items | {graph.n_items:,} |
| training interactions | {len(graph.users):,} |
| modalities | {modalities} |
| facts of the knowledge graph | {facts:,} |
| fingerprint of the data | `{manifest["data_fingerprint"]}` |

## Evaluation

{_evaluation(checkpoint)}

## Files

{_files(manifest)}

## Model

Checkpoint `{checkpoint.name}`, exported with torch {torch.__version__} on Python {platform.python_version()}.

```yaml
{settings}
```
"""  # noqa: E501  # paragraphs


def settings_of(module: RecommenderModule) -> dict[str, Any]:
    """The model's class and its settings, without those that concern a run."""
    settings = dict(module.hparams)
    kept = {name: settings[name] for name in settings if name not in RUN_TIME}
    return {"class_path": class_path(type(module)), "init_args": kept}


def _evaluation(checkpoint: Path) -> str:
    folder = run_folder(checkpoint)
    if not (folder / RESULT_FILES["test"]).is_file():
        return _TEST_FIRST
    result = read_result(folder, "test")
    if Path(str(result["checkpoint"])).name != checkpoint.name:
        return _TEST_FIRST  # the result is of another epoch
    values = {
        name.removeprefix("test/"): value
        for name, value in result["metrics"].items()
        if "@" in name
    }
    ks = sorted({int(name.partition("@")[2]) for name in values})
    metrics = dict.fromkeys(name.partition("@")[0] for name in values)
    rows = [
        f"| {metric} | " + " | ".join(f"{values[f'{metric}@{k}']:.4f}" for k in ks) + " |"
        for metric in metrics
    ]
    head = "| metric | " + " | ".join(f"@{k}" for k in ks) + " |\n|---" + "|---:" * len(ks) + "|"
    return "\n".join(["Full ranking on the test part. " + result["protocol"], "", head, *rows])


def _scope(manifest: Mapping[str, Any]) -> str:
    if "new_items" not in manifest:
        return "Users and items that training has not seen are not in here."
    return (
        f"The last {manifest['new_items']:,} items came after training: their embeddings are "
        f"predicted from features and facts, which explain {manifest['explained']:.0%} of the "
        "variance of known ones. Users that training has not seen are not in here."
    )


def _files(manifest: Mapping[str, Any]) -> str:
    if "list_length" in manifest:
        return f"""\
- `recommendations.parquet`: the {manifest["list_length"]} best unseen items of each user; the model
  gives scores and no embeddings
- `seen.safetensors`: user u knows `seen_items[seen_offsets[u]:seen_offsets[u + 1]]`
- `users.parquet`, `items.parquet`: raw ids, in the order of these rows"""
    lines = [
        "- `embeddings.safetensors`: `users`, `items`; the score is their inner product",
        "- in the same file: user u knows `seen_items[seen_offsets[u]:seen_offsets[u + 1]]`",
        "- `users.parquet`, `items.parquet`: raw ids and embeddings, in the same order",
    ]
    if "histories" in manifest:
        lines.append("- `histories.safetensors`: how somebody new gets a vector from their items")
    if "onnx" in manifest:
        lines.append(
            "- `scoring.onnx`: `user_rows` int64 [batch] → `scores` float32 [batch, items]; "
            f"largest difference from torch {manifest['onnx']['largest_difference']:.1e}"
        )
    if "faiss" in manifest:
        recall = next(name for name in manifest["faiss"] if name.startswith("recall"))
        lines.append(
            f"- `items.faiss`: approximate, {recall} {manifest['faiss'][recall]:.4f} against exact "
            "search; it knows nothing of seen items, so ask for more than you show"
        )
    return "\n".join(lines)
