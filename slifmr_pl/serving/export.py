"""A folder of files that recommend without this package.

Of a model with vectors of users and items:

| file | content |
|---|---|
| `embeddings.safetensors` | `users` float32 [U, d], `items` float32 [I, d]; `seen_offsets` int64 [U + 1] and `seen_items` int64: user u knows `seen_items[seen_offsets[u]:seen_offsets[u + 1]]` |
| `users.parquet`, `items.parquet` | raw id and embedding, in the order of those rows |
| `histories.safetensors` | how somebody new gets a vector, see `HistoryEncoding`: `messages`, `means`, `regression`; not of a model with a function of its own for that |
| `scoring.onnx` | on request: rows of users → scores of all items |
| `items.faiss` | on request: an approximate index of the items, by inner product |
| `manifest.json` | sizes, fingerprints (`content`: SHA-256 of embeddings or lists), and how far index and ONNX agree with the exact scores |
| `README.md` | the model card |

A model that gives scores alone has nothing to index. In place of the embeddings there are

| file | content |
|---|---|
| `seen.safetensors` | `seen_offsets`, `seen_items` |
| `users.parquet`, `items.parquet` | raw ids, in the order of those rows |
| `recommendations.parquet` | user_id, item_id, rank, score: the `top_k` best unseen items of each user |
"""  # noqa: E501  # a table

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save

from feature_extraction.hashing import file_sha256
from slifmr_pl.config.parts import class_path
from slifmr_pl.data.formats.new_folder import new_folder, require_free
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.models.base import RecommenderModule, catalogue_of, load_model
from slifmr_pl.models.ranking_module import require_vectors
from slifmr_pl.runs.atomic_files import write_json
from slifmr_pl.serving.faiss_index import write_index
from slifmr_pl.serving.item_additions import ItemAdditions
from slifmr_pl.serving.model_card import model_card
from slifmr_pl.serving.onnx_tower import write_tower
from slifmr_pl.serving.recommender import Recommender

FORMAT = "slifmr-export-1"
_LISTS = pa.schema(
    {"user_id": pa.string(), "item_id": pa.string(), "rank": pa.int32(), "score": pa.float32()}
)
_USERS = 4096  # whose lists are made at a time


def export(
    checkpoint: Path,
    out: Path,
    *,
    onnx: bool = False,
    faiss: bool = False,
    additions: ItemAdditions | None = None,
) -> dict[str, Any]:
    """Writes the folder, whole or not at all.

    Args:
        checkpoint: A file that `fit` wrote; the model card takes what its run's folder holds.
        out: A folder that is not there yet, or empty.
        onnx: Write `scoring.onnx`, verified by onnxruntime.
        faiss: Write `items.faiss`, with its recall measured.
        additions: Items that training has not seen and that the export holds, too.

    Returns:
        The manifest.

    Raises:
        CheckpointError: If the checkpoint cannot be used, or holds no raw ids.
        DataError: If the folder holds something, or new items cannot be added.
        ConfigError: If an optional package is missing, or a model without vectors is to be indexed.
        StorageError: If the folder or the disk does not take it.
    """
    require_free(out)
    module = load_model(checkpoint)
    for wanted, name in ((onnx, "an ONNX file"), (faiss, "a faiss index")):
        if wanted:
            require_vectors(module, name)
    recommender = Recommender(module, catalogue_of(module, checkpoint))
    added: dict[str, Any] = {}
    if additions is not None:
        new_ids = additions.new_ids(recommender.items)
        facts = additions.facts_of(new_ids)
        said = recommender.add_items(new_ids, stores=additions.opened_stores(), facts=facts)
        added = {"new_items": len(new_ids), **said._asdict()}
    with new_folder(out) as folder:
        manifest = write_tables(recommender, module, checkpoint, folder) | added
        if onnx:
            vectors = recommender.user_embeddings, recommender.item_embeddings
            manifest["onnx"] = write_tower(*vectors, folder / "scoring.onnx")
        if faiss:
            vectors = recommender.user_embeddings, recommender.item_embeddings
            manifest["faiss"] = write_index(*vectors, folder / "items.faiss")
        write_json(folder / "manifest.json", manifest)
        card = model_card(module, checkpoint, manifest)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return manifest


def write_tables(
    recommender: Recommender, module: RecommenderModule, checkpoint: Path, folder: Path
) -> dict[str, Any]:
    """Writes what every export holds, but for `manifest.json` and the model card.

    Args:
        recommender: Of the model, with the items that were added.
        module: The model.
        checkpoint: Its file, whose name the manifest holds.
        folder: Where to.

    Returns:
        The manifest.
    """
    assert module.inputs is not None
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "checkpoint": checkpoint.name,
        "model": class_path(type(module)),
        "users": len(recommender.catalogue.users),
        "items": len(recommender.items),
        "data_fingerprint": module.inputs.fingerprint,
        "vocabulary_fingerprint": module.inputs.vocabulary,
    }
    if module.gives_vectors:
        return manifest | _write_vectors(recommender, module, folder)
    return manifest | _write_lists(recommender, module.top_k, folder)


def _write_vectors(
    recommender: Recommender, module: RecommenderModule, folder: Path
) -> dict[str, Any]:
    """Writes embeddings; returns their part of the manifest."""
    catalogue = recommender.catalogue
    users, items = recommender.user_embeddings, recommender.item_embeddings
    tensors = {"users": users.contiguous(), "items": items.contiguous(), **_seen(recommender)}
    # Not by `save_file`, whose file nobody else may read.
    content = save(tensors, {"format": FORMAT})
    (folder / "embeddings.safetensors").write_bytes(content)
    for name, ids, table in (("user", catalogue.users, users), ("item", recommender.items, items)):
        pq.write_table(_embeddings(name, ids, table), folder / f"{name}s.parquet")
    return {
        "embedding_dim": users.shape[1],
        # The first columns: those to compare items by.
        "representation_dim": module.representation_dim or users.shape[1],
        "content": sha256(content).hexdigest(),
        **_write_histories(recommender, folder),
    }


def _write_histories(recommender: Recommender, folder: Path) -> dict[str, Any]:
    """Writes how histories become vectors, if it is tables; returns its part of the manifest."""
    encoding = recommender.history_encoding
    if encoding is None:
        return {}
    tensors = {"messages": encoding.messages}
    weight = None
    if encoding.means is not None:
        tensors["means"] = encoding.means
    if encoding.regression is not None:
        tensors["regression"] = encoding.regression.shared_factors
        weight = encoding.regression.weight
    whole = {name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()}
    (folder / "histories.safetensors").write_bytes(save(whole, {"format": FORMAT}))
    return {"histories": {"regression_weight": weight}}


def _write_lists(recommender: Recommender, k: int, folder: Path) -> dict[str, Any]:
    """Writes ids and the lists of all users; returns their part of the manifest."""
    catalogue = recommender.catalogue
    (folder / "seen.safetensors").write_bytes(save(_seen(recommender), {"format": FORMAT}))
    for name, ids in (("user", catalogue.users), ("item", catalogue.items)):
        pq.write_table(pa.table({f"{name}_id": ids.ids}), folder / f"{name}s.parquet")
    users = catalogue.users.ids.to_pylist()
    with pq.ParquetWriter(folder / "recommendations.parquet", _LISTS) as writer:
        for first in range(0, len(users), _USERS):
            some = users[first : first + _USERS]
            rows = [
                (user, place.item_id, rank, place.score)
                for user, places in zip(some, recommender.recommend(some, k), strict=True)
                for rank, place in enumerate(places, 1)
            ]
            columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * len(_LISTS)
            writer.write_table(pa.table(columns, schema=_LISTS))
    return {"list_length": k, "content": file_sha256(folder / "recommendations.parquet")}


def _seen(recommender: Recommender) -> dict[str, torch.Tensor]:
    seen = recommender.seen
    return {
        "seen_offsets": torch.from_numpy(seen.offsets),
        "seen_items": torch.from_numpy(seen.items),
    }


def _embeddings(name: str, ids: Vocabulary, table: torch.Tensor) -> pa.Table:
    values = pa.array(np.ascontiguousarray(table.numpy()).reshape(-1))
    embedding = pa.FixedSizeListArray.from_arrays(values, table.shape[1])
    return pa.table({f"{name}_id": ids.ids, "embedding": embedding})
