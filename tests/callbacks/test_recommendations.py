from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import pytorch_lightning as pl

from slifmr_pl.callbacks.recommendations import SCHEMA, RecommendationWriter
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.errors import ConfigError, DataError, TableError
from slifmr_pl.module import SlifMrModule
from tests.processes import in_processes
from tests.tiny_runs import demo_data, full_model, trainer

FILE = "recommendations.parquet"


@pytest.fixture(scope="module")
def data(catalogue: Path) -> SlifMrDataModule:
    return demo_data(catalogue, eval_batch_size=40)


@pytest.fixture(scope="module")
def everything(data: SlifMrDataModule, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """All items of all users, ranked."""
    return predict(data, tmp_path_factory.mktemp("all"), top_k=60, exclude_seen=False)


def predict(data: SlifMrDataModule, folder: Path, top_k: int, **options: Any) -> pa.Table:
    writer = RecommendationWriter(str(folder), **options)
    trainer(folder, 1, writer).predict(full_model(top_k=top_k), datamodule=data)
    return pq.read_table(folder / FILE)


def id_file(path: Path, column: str, ids: list[str]) -> str:
    pa_csv.write_csv(pa.table({column: ids}), path)
    return str(path)


def seen_by(data: SlifMrDataModule) -> set[tuple[str, str]]:
    known = data.data
    return {
        pair
        for part in (known.train, known.valid, known.test)
        for pair in zip(known.users.decode(part.users), known.items.decode(part.items), strict=True)
    }


def pairs(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(table["user_id"].to_pylist(), table["item_id"].to_pylist(), strict=True))


def best_of(table: pa.Table, k: int, keep: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """The first k of each user among pairs to keep."""
    lists: dict[str, list[tuple[str, str]]] = {}
    for pair in pairs(table):
        chosen = lists.setdefault(pair[0], [])
        if pair in keep and len(chosen) < k:
            chosen.append(pair)
    return [pair for chosen in lists.values() for pair in chosen]


def test_lists_are_written_whole_with_raw_ids(
    data: SlifMrDataModule, everything: pa.Table, tmp_path: Path
) -> None:
    table = predict(data, tmp_path, top_k=3)
    assert table.schema == SCHEMA
    assert table["rank"].to_pylist() == [1, 2, 3] * 90
    unseen = set(pairs(everything)) - seen_by(data)
    assert pairs(table) == best_of(everything, 3, unseen)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_seen_items_come_back_on_request(data: SlifMrDataModule, everything: pa.Table) -> None:
    assert everything.num_rows == 90 * 60
    assert seen_by(data) <= set(pairs(everything))


def test_candidates_blocked_items_and_users_are_kept_to(
    data: SlifMrDataModule, everything: pa.Table, tmp_path: Path
) -> None:
    items, users = data.data.items.ids.to_pylist(), data.data.users.ids.to_pylist()
    table = predict(
        data,
        tmp_path / "out",
        top_k=5,
        candidates=id_file(tmp_path / "candidates.csv", "item_id", items[10:30]),
        blocked=id_file(tmp_path / "blocked.csv", "item_id", items[:15]),
        users=id_file(tmp_path / "users.csv", "user_id", [users[7], users[3], users[7]]),
    )
    keep = {(user, item) for user in (users[3], users[7]) for item in items[15:30]}
    assert pairs(table) == best_of(everything, 5, keep - seen_by(data))
    scores = dict(zip(pairs(everything), everything["score"].to_pylist(), strict=True))
    assert table["score"].to_pylist() == [scores[pair] for pair in pairs(table)]


def test_list_ends_where_a_user_has_nothing_left(data: SlifMrDataModule, tmp_path: Path) -> None:
    user, item = min(seen_by(data))
    file = id_file(tmp_path / "items.csv", "item_id", [item])
    table = predict(data, tmp_path, top_k=5, candidates=file)
    assert 0 < table.num_rows < 90
    assert user not in table["user_id"].to_pylist()


@pytest.mark.parametrize(
    ("column", "ids", "error", "expected"),
    [
        ("item_id", ["nothing"], DataError, "'nothing'"),
        ("item_id", [], DataError, "there is no item_id"),
        ("item", ["a"], TableError, "'item_id' is missing"),
    ],
)
def test_unusable_file_of_ids_is_refused(
    data: SlifMrDataModule,
    tmp_path: Path,
    column: str,
    ids: list[str],
    error: type[Exception],
    expected: str,
) -> None:
    file = tmp_path / "ids.csv"
    file.write_text("\n".join([column, *ids, ""]))
    with pytest.raises(error, match=expected):
        predict(data, tmp_path, top_k=5, blocked=str(file))


def test_blocking_everything_is_refused(data: SlifMrDataModule, tmp_path: Path) -> None:
    items = data.data.items.ids.to_pylist()
    file = id_file(tmp_path / "items.csv", "item_id", items)
    with pytest.raises(ConfigError, match="no item may be recommended"):
        predict(data, tmp_path, top_k=5, blocked=file)


def test_interrupted_prediction_leaves_an_older_file_and_nothing_else(
    data: SlifMrDataModule, tmp_path: Path
) -> None:
    class Broken(RecommendationWriter):
        def write_on_batch_end(self, *arguments: object, **options: object) -> None:
            raise OSError("no space left on device")

    (tmp_path / FILE).write_bytes(b"of an earlier model")
    with pytest.raises(OSError, match="no space"):
        trainer(tmp_path, 1, Broken(str(tmp_path))).predict(full_model(), datamodule=data)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).read_bytes() == b"of an earlier model"


def write_lists(catalogue: Path, folder: Path, checkpoint: Path) -> None:
    """One of two processes; three users, so that their shares differ."""
    predict_with = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[RecommendationWriter(str(folder), users=str(folder / "users.csv"))],
    )
    module = SlifMrModule.load_from_checkpoint(checkpoint)
    predict_with.predict(module, datamodule=demo_data(catalogue, eval_batch_size=1))


def test_two_processes_write_the_file_of_one(
    data: SlifMrDataModule, catalogue: Path, cache: Path, tmp_path: Path
) -> None:
    fit = trainer(tmp_path, 1)
    fit.fit(full_model(top_k=4), datamodule=demo_data(catalogue))
    checkpoint = tmp_path / "model.ckpt"
    fit.save_checkpoint(checkpoint)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        id_file(folder / "users.csv", "user_id", data.data.users.ids.to_pylist()[20:23])
    writer = RecommendationWriter(str(folders[0]), users=str(folders[0] / "users.csv"))
    module = SlifMrModule.load_from_checkpoint(checkpoint)
    trainer(tmp_path, 1, writer).predict(module, datamodule=demo_data(catalogue))
    in_processes(2, write_lists, catalogue, folders[1], checkpoint)
    one, two = (pq.read_table(folder / FILE) for folder in folders)
    assert one.num_rows == 3 * 4
    assert two.equals(one)
    assert sorted(path.name for path in folders[1].iterdir()) == [FILE, "users.csv"]
