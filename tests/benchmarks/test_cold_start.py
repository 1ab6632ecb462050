from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from benchmarks.cold_start import main, recall, take_out
from slifmr_pl.data.formats.data_folder import read


@pytest.fixture
def config(catalogue: Path, tmp_path: Path) -> Path:
    values = yaml.safe_load(Path("configs/demo.yaml").read_text())
    del values["data"]["modalities"]["image"]
    values["trainer"] |= {"max_epochs": 1}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_tables_are_printed_for_items_and_users_that_training_never_met(
    config: Path, catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(config), str(catalogue), "--seeds", "4", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    for expected in ("| random |", "| SLIF-MR, features and facts |", "| new among all |"):
        assert expected in printed
    world = take_out(read(catalogue, "auto"), yaml.safe_load(config.read_text())["data"], 4)
    assert len(world.new_items) == 6
    assert world.facts
    names = set(world.new_items) | set(world.new_users)
    for file in (tmp_path / "seed4" / "data").glob("*.parquet"):
        table = pq.read_table(file)
        for column in table.column_names:
            assert not names & set(table[column].to_pylist()), (file.name, column)


def test_recall_counts_what_is_found_of_what_there_is() -> None:
    scores = torch.arange(60.0).repeat(3, 1)
    masked = torch.zeros(3, 60, dtype=torch.bool)
    masked[1, 59] = True
    # The best 20 are 40 to 59; the second user cannot get 59, the third has nothing to find.
    assert recall(scores, masked, [[59, 0], [59, 39], []]) == pytest.approx(0.5)
