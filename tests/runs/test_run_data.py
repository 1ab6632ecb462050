from pathlib import Path

import pytest

from slifmr_pl.errors import RunError
from slifmr_pl.runs.run_data import run_data

TABLE = "user_id,item_id\n" + "".join(f"u{n % 5},i{n}\n" for n in range(20))


@pytest.mark.parametrize("moved", [False, True])
def test_data_of_a_run_may_be_one_file(tmp_path: Path, moved: bool) -> None:
    (tmp_path / "likes.csv").write_text(TABLE)
    root = tmp_path / ("gone.csv" if moved else "likes.csv")
    settings = {"data": {"root": str(root), "format": "table"}}
    if moved:
        with pytest.raises(RunError, match="the run's data are not there"):
            run_data(settings, tmp_path)
    data = run_data(settings, tmp_path, tmp_path / "likes.csv" if moved else None)
    assert len(data.unperturbed.users) == 5


def test_data_of_no_folder_are_found_by_their_class(tmp_path: Path) -> None:
    name = "tests.extending.parts.clusters_data.ClustersDataModule"
    data = run_data({"data": {"class_path": name, "init_args": {"clusters": 4}}}, tmp_path)
    assert len(data.unperturbed.items) == 24
