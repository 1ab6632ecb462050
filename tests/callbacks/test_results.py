import json
from pathlib import Path

import pytest
from rich.console import Console

from slifmr_pl.callbacks.results import ResultTable, metric_table
from tests.tiny_runs import demo_data, full_model, trainer


def test_table_has_a_row_a_metric_and_a_column_a_cutoff() -> None:
    values = {
        "test/recall@20": 0.25,
        "test/recall@5": 0.125,
        "test/ndcg@5": 0.5,
        "test/ndcg@20": 1 / 3,
        "val/recall@5": 0.9,
        "test/n_users": 7.0,
    }
    console = Console(width=80)
    with console.capture() as capture:
        console.print(metric_table(values, "test", "a title"))
    printed = capture.get()
    (recall,) = (line for line in printed.splitlines() if "recall" in line)
    assert recall.index("0.1250") < recall.index("0.2500")
    assert "0.3333" in printed
    assert "0.9" not in printed
    assert "n_users" not in printed


@pytest.mark.parametrize("masks", ["train", "train+valid"])
def test_result_is_printed_and_kept_with_its_protocol(
    catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], masks: str
) -> None:
    data = demo_data(catalogue, test_masks=masks)
    trainer(tmp_path, 1, ResultTable()).test(full_model(), datamodule=data, verbose=False)
    record = json.loads((tmp_path / "test.json").read_text())
    assert record["protocol"].startswith(f"All items compete; {masks} items of a user are masked")
    assert record["masks"] == masks
    assert record["data"]["fingerprint"] == data.model_inputs.fingerprint
    assert record["data"]["split"] == {"strategy": "ratio", "ratios": [0.8, 0.1, 0.1], "seed": 2026}
    printed = capsys.readouterr().out
    assert f"{record['metrics']['test/recall@20']:.4f}" in printed


def test_nothing_is_printed_while_fitting(
    catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(tmp_path, 1, ResultTable()).fit(full_model(), datamodule=demo_data(catalogue))
    assert "full ranking" not in capsys.readouterr().out
