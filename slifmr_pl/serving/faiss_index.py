"""An approximate index of the items for faiss, with the recall that it has."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slifmr_pl.config.optional import library

RECALL = 0.99
K = 20
_SAMPLE = 500
_SEED = 2026


def write_index(users: Tensor, items: Tensor, path: Path) -> dict[str, Any]:
    """Writes an inverted file by inner product that searches as many lists as recall@20 needs.

    Args:
        users: u* float32 [U, d], of which a sample asks for items.
        items: i* float32 [I, d].
        path: File.

    Returns:
        `lists`, `searched` (what `nprobe` is set to), and the `recall@20` against exact search on
        the `sample` users.

    Raises:
        ConfigError: If the extra `faiss` is not installed.
    """
    faiss = library("faiss", "faiss", "the index", "leave --faiss out")
    rows = items.contiguous().numpy()
    n_lists = max(1, min(round(4 * len(rows) ** 0.5), len(rows) // 39))  # 39: of faiss's training
    index = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(rows.shape[1]), rows.shape[1], n_lists, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.seed = _SEED
    index.train(rows)
    index.add(rows)
    order = torch.randperm(len(users), generator=torch.Generator().manual_seed(_SEED))
    sample = users[order[:_SAMPLE]]
    k = min(K, len(rows))
    exact = (sample @ items.T).topk(k).indices
    queries = sample.contiguous().numpy()
    while True:
        approximate = torch.from_numpy(index.search(queries, k)[1])
        recall = float((approximate.unsqueeze(2) == exact.unsqueeze(1)).any(1).double().mean())
        if recall >= RECALL or index.nprobe == n_lists:
            break
        index.nprobe = min(2 * index.nprobe, n_lists)
    faiss.write_index(index, str(path))
    return {
        "lists": n_lists,
        "searched": index.nprobe,
        f"recall@{k}": recall,
        "sample": len(sample),
    }
