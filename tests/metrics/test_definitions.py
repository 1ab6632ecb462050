from pathlib import Path

import pytest
import torch

from slifmr_pl.metrics.definitions import BUILT_IN, as_markdown, built_in_metrics
from slifmr_pl.metrics.metric import RankingMetric, UserMetric
from slifmr_pl.metrics.ranked_lists import RankedLists

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: kind.name)
def test_every_metric_has_a_definition(kind: type[RankingMetric]) -> None:
    assert kind.name
    assert kind.title
    assert kind.formula
    assert kind.edges
    assert bool(kind.examples) is issubclass(kind, UserMetric)


@pytest.mark.parametrize(
    "metric",
    [metric for metric in built_in_metrics() if isinstance(metric, UserMetric)],
    ids=lambda metric: metric.name,
)
def test_metrics_have_the_values_of_their_examples(metric: UserMetric) -> None:
    for example in metric.examples:
        hits = torch.tensor([example.hits]).bool()
        lists = RankedLists.of_hits(hits, torch.tensor([example.relevant]), [example.k])
        assert metric.values(lists).item() == pytest.approx(example.value, abs=5e-5)


def test_page_of_the_documentation_is_what_the_command_prints() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    assert page == as_markdown(), "run: slifmr metrics > docs/metrics.md"
