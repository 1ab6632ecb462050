from pathlib import Path

import pytest
import torch

from slifmr_pl.metrics.definitions import DEFINITIONS, MetricDefinition, as_markdown
from slifmr_pl.metrics.functional import RankedHits, ranking_metrics
from slifmr_pl.metrics.ranking_metrics import ACCURACY, RankingMetrics

ROOT = Path(__file__).parents[2]


def test_every_metric_has_a_definition_and_no_other() -> None:
    metric = RankingMetrics([1], n_items=2, item_popularity=torch.tensor([1, 2]))
    metric.update(torch.tensor([[0]]), torch.tensor([0, 1]), torch.tensor([1]))
    reported = [name.removesuffix("@1") for name in metric.compute() if "@" in name]
    assert [definition.name for definition in DEFINITIONS] == reported
    assert tuple(definition.name for definition in DEFINITIONS if definition.per_user) == ACCURACY


@pytest.mark.parametrize(
    "definition", [d for d in DEFINITIONS if d.per_user], ids=lambda definition: definition.name
)
def test_examples_hold(definition: MetricDefinition) -> None:
    assert definition.examples
    for example in definition.examples:
        hits = torch.tensor([example.hits]).bool()
        ranked = RankedHits.of(hits, torch.tensor([example.relevant]), [example.k])
        values = ranking_metrics(ranked)
        assert values[definition.name].item() == pytest.approx(example.value, abs=5e-5)


def test_page_of_the_documentation_is_what_the_command_prints() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    assert page == as_markdown(), "run: python -m slifmr_pl metrics > docs/metrics.md"
