"""A folder of files that recommend without this package.

| file | content |
|---|---|
| `embeddings.safetensors` | `users` float32 [U, d], `items` float32 [I, d]; `seen_offsets` int64 [U + 1] and `seen_items` int64: user u knows `seen_items[seen_offsets[u]:seen_offsets[u + 1]]` |
| `users.parquet`, `items.parquet` | raw id and embedding, in the order of those rows |
| `scoring.onnx` | on request: rows of users → scores of all items |
| `items.faiss` | on request: an approximate index of the items, by inner product |
| `manifest.json` | sizes, fingerprints, and how far index and ONNX agree with the exact scores |
| `README.md` | the model card |
"""  # noqa: E501  # a table

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save

from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import ConfigError
from slifmr_pl.module import SlifMrModule
from slifmr_pl.runs.atomic_files import write_json
from slifmr_pl.serving.faiss_index import write_index
from slifmr_pl.serving.model_card import model_card
from slifmr_pl.serving.onnx_tower import write_tower
from slifmr_pl.serving.raw_ids import catalogue_of
from slifmr_pl.serving.recommender import Recommender

FORMAT = "slifmr-export-1"


def export(
    checkpoint: Path, out: Path, *, onnx: bool = False, faiss: bool = False
) -> dict[str, Any]:
    """Writes the folder, whole or not at all.

    Args:
        checkpoint: A file that `fit` wrote; the model card takes what its run's folder holds.
        out: A folder that is not there yet, or empty.
        onnx: Write `scoring.onnx`, verified by onnxruntime.
        faiss: Write `items.faiss`, with its recall measured.

    Returns:
        The manifest.

    Raises:
        CheckpointError: If the checkpoint cannot be used, or holds no raw ids.
        ConfigError: If the folder holds something, or an optional package is missing.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            "the export would overwrite what is there",
            expected="a new or empty folder",
            fix="choose another folder, or remove this one",
            path=out,
        )
    module = SlifMrModule.load_from_checkpoint(checkpoint)
    recommender = Recommender(module, catalogue_of(module, checkpoint))
    assert module.inputs is not None
    users, items = recommender.user_embeddings, recommender.item_embeddings
    partial = out.with_name(f"{out.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        tensors = {
            "users": users.contiguous(),
            "items": items.contiguous(),
            "seen_offsets": torch.from_numpy(recommender.seen.offsets),
            "seen_items": torch.from_numpy(recommender.seen.items),
        }
        # Not by `save_file`, whose file nobody else may read.
        (partial / "embeddings.safetensors").write_bytes(save(tensors, {"format": FORMAT}))
        catalogue = recommender.catalogue
        for name, ids, table in (
            ("user", catalogue.users, users),
            ("item", catalogue.items, items),
        ):
            pq.write_table(_embeddings(name, ids, table), partial / f"{name}s.parquet")
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "checkpoint": checkpoint.name,
            "users": len(users),
            "items": len(items),
            "embedding_dim": users.shape[1],
            # The first columns, without the regression: those to compare items by.
            "representation_dim": module.network_config.embedding_dim,
            "data_fingerprint": module.inputs.fingerprint,
            "vocabulary_fingerprint": module.inputs.vocabulary,
        }
        if onnx:
            manifest["onnx"] = write_tower(users, items, partial / "scoring.onnx")
        if faiss:
            manifest["faiss"] = write_index(users, items, partial / "items.faiss")
        write_json(partial / "manifest.json", manifest)
        card = model_card(module, checkpoint, manifest)
        (partial / "README.md").write_text(card, encoding="utf-8")
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifest


def _embeddings(name: str, ids: Vocabulary, table: torch.Tensor) -> pa.Table:
    values = pa.array(np.ascontiguousarray(table.numpy()).reshape(-1))
    embedding = pa.FixedSizeListArray.from_arrays(values, table.shape[1])
    return pa.table({f"{name}_id": ids.ids, "embedding": embedding})
