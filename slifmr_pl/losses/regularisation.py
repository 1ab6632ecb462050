"""Weight decay of the embeddings that a batch touches."""

import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError


def embedding_l2(*embeddings: Tensor, batch_size: int) -> Tensor:
    """``1/2 Σ ‖e‖² / B``, the L2 term of LightGCN's and NGCF's published training.

    He et al., "LightGCN", SIGIR 2020, eq. 15, restricted to the ego embeddings of the batch.

    Args:
        *embeddings: float ``[..., d]`` ego embeddings of the users and items in the batch.
        batch_size: B, rows of the batch (not of the embeddings: more negatives weigh more).

    Returns:
        Scalar.

    Raises:
        ConfigError: If there are no embeddings or the batch size is below 1.
    """
    if not embeddings or batch_size < 1:
        raise ConfigError(
            f"{len(embeddings)} embedding tensors with batch size {batch_size}",
            expected="at least one tensor and a batch size of at least 1",
            fix="pass the embeddings that the batch looks up and the number of its rows",
        )
    squares = torch.stack([embedding.square().sum() for embedding in embeddings])
    return squares.sum() / (2 * batch_size)
