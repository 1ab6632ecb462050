import math

import pytest
import torch

from slifmr_pl.nn.fusion import ModalityAttention
from tests.graphs.oracles import close, generator

PRESENT = torch.tensor(
    [[True, True, False, False], [True, False, True, False], [True, True, True, False]]
)


def views() -> torch.Tensor:
    return torch.randn(3, 4, 5, generator=generator(0))


def fusion(*, attention: bool) -> ModalityAttention:
    module = ModalityAttention(5, learned=attention)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator(1)))
    return module


def test_attention_is_a_softmax_over_the_modalities_that_are_there() -> None:
    module, h = fusion(attention=True), views()
    parameters = {name: value.detach() for name, value in module.named_parameters()}
    weight, bias, v = (parameters[f"score.{name}"] for name in ("0.weight", "0.bias", "2.weight"))
    fused, attention = (part.detach() for part in module(h, PRESENT))
    for item in range(4):
        there = [m for m in range(3) if PRESENT[m, item]]
        scores = [float(v[0] @ torch.tanh(weight @ h[m, item] + bias)) for m in there]
        total = sum(math.exp(score) for score in scores)
        expected = torch.zeros(5)
        for m, score in zip(there, scores, strict=True):
            share = math.exp(score) / total
            assert float(attention[m, item]) == pytest.approx(share, rel=1e-4)
            expected += share * h[m, item]
        close(fused[item], expected, rtol=1e-4, atol=1e-5)
    assert not attention[~PRESENT].any()


def test_without_attention_it_is_the_mean_of_what_is_there() -> None:
    module, h = fusion(attention=False), views()
    assert not list(module.parameters())
    fused, attention = module(h, PRESENT)
    close(fused[0], h[:, 0].mean(0))
    close(fused[1], (h[0, 1] + h[2, 1]) / 2)
    close(attention[:, 2], torch.tensor([0.0, 0.5, 0.5]))


@pytest.mark.parametrize("attention", [True, False])
def test_item_without_any_modality_gets_zero_and_passes_no_gradient(attention: bool) -> None:
    module, h = fusion(attention=attention), views().requires_grad_()
    fused, weights = module(h, PRESENT)
    assert not fused[3].any()
    assert not weights[:, 3].any()
    fused.sum().backward()
    assert h.grad[:, :3].any()
    assert not h.grad[:, 3].any()


@pytest.mark.parametrize("attention", [True, False])
def test_what_a_missing_modality_holds_does_not_matter(attention: bool) -> None:
    module, h = fusion(attention=attention), views()
    changed = torch.where(PRESENT.unsqueeze(-1), h, torch.tensor(1e6))
    for left, right in zip(module(h, PRESENT), module(changed, PRESENT), strict=True):
        assert torch.equal(left, right)


def test_all_parameters_get_finite_gradients_without_any_modality() -> None:
    module = fusion(attention=True)
    fused, _ = module(views(), torch.zeros_like(PRESENT))
    fused.sum().backward()
    for parameter in module.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


def test_shares_stay_exact_under_bfloat16_autocast() -> None:
    module = fusion(attention=True)
    with torch.autocast("cpu", torch.bfloat16):
        fused, attention = module(views(), PRESENT)
    assert fused.dtype == torch.float32
    close(attention.sum(0), torch.tensor([1.0, 1.0, 1.0, 0.0]))
