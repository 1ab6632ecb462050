import pytest
import torch

from slifmr_pl.errors import ConfigError
from slifmr_pl.losses.regularisation import embedding_l2


def test_hand_computed_sum_over_all_embeddings() -> None:
    users = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
    negatives = torch.tensor([[[3.0, 0.0]], [[0.0, -1.0]]])
    assert embedding_l2(users, negatives, batch_size=2).item() == (6 + 10) / 2 / 2


def test_gradient_is_the_embedding_over_the_batch_size() -> None:
    embedding = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    embedding_l2(embedding, batch_size=4).backward()
    torch.testing.assert_close(embedding.grad, embedding.detach() / 4)
    assert torch.autograd.gradcheck(lambda e: embedding_l2(e, batch_size=4), embedding)


def test_no_embeddings_or_an_empty_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match="0 embedding tensors"):
        embedding_l2(batch_size=1)
    with pytest.raises(ConfigError, match="batch size 0"):
        embedding_l2(torch.ones(0, 2), batch_size=0)
