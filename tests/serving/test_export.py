import importlib
import json
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from slifmr_pl.callbacks.recommendations import FILE
from slifmr_pl.cli import main
from slifmr_pl.serving.recommender import Recommender
from tests.serving.grown_catalogue import facts_of, store_of


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "model"
    assert main(["export", str(checkpoint), str(out), "--onnx", "--faiss"]) == 0
    return out


def lists_of(scores: Any, folder: Path, k: int) -> list[tuple[str, str]]:
    """Best unseen items from scores [U, I], with numpy and the exported files alone."""
    tensors = load_file(folder / "embeddings.safetensors")
    users, items = (
        pq.read_table(folder / f"{name}s.parquet")[f"{name}_id"].to_pylist()
        for name in ("user", "item")
    )
    pairs = []
    for user, row in enumerate(np.array(scores)):
        first, last = tensors["seen_offsets"][user : user + 2]
        row[tensors["seen_items"][first:last]] = -np.inf
        best = np.argsort(-row, kind="stable")[:k]
        pairs += [(users[user], items[item]) for item in best]
    return pairs


def predicted(checkpoint: Path) -> list[tuple[str, str]]:
    rows = pq.read_table(checkpoint.parent / FILE).to_pylist()
    return [(row["user_id"], row["item_id"]) for row in rows]


def test_exported_embeddings_give_the_lists_of_predict(exported: Path, checkpoint: Path) -> None:
    tensors = load_file(exported / "embeddings.safetensors")
    scores = tensors["users"] @ tensors["items"].T
    assert lists_of(scores, exported, 7) == predicted(checkpoint)


def test_exported_onnx_gives_the_lists_of_predict(exported: Path, checkpoint: Path) -> None:
    onnxruntime = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(
        exported / "scoring.onnx", providers=["CPUExecutionProvider"]
    )
    n_users = json.loads((exported / "manifest.json").read_text())["users"]
    (scores,) = session.run(["scores"], {"user_rows": np.arange(n_users)})
    assert lists_of(scores, exported, 7) == predicted(checkpoint)


def test_index_finds_what_the_manifest_says(exported: Path) -> None:
    faiss = importlib.import_module("faiss")
    tensors = load_file(exported / "embeddings.safetensors")
    index = faiss.read_index(str(exported / "items.faiss"))
    approximate = index.search(tensors["users"], 20)[1]
    exact = np.argsort(-(tensors["users"] @ tensors["items"].T), axis=1)[:, :20]
    hits = [len(set(a) & set(b)) / 20 for a, b in zip(approximate, exact, strict=True)]
    stated = json.loads((exported / "manifest.json").read_text())["faiss"]["recall@20"]
    assert stated == pytest.approx(np.mean(hits))
    assert stated >= 0.99


def test_parquet_files_hold_the_same_embeddings(exported: Path) -> None:
    tensors = load_file(exported / "embeddings.safetensors")
    for name in ("user", "item"):
        table = pq.read_table(exported / f"{name}s.parquet")
        values = np.stack(table["embedding"].to_numpy(zero_copy_only=False))
        assert np.array_equal(values, tensors[f"{name}s"])


def test_card_tells_data_files_and_that_nothing_was_tested(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    for expected in ("| users | 90 |", "image, text", "Not measured", "scoring.onnx", "recall@20"):
        assert expected in card


def test_card_holds_the_metrics_of_this_checkpoint_alone(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "model.ckpt").write_bytes(checkpoint.read_bytes())
    for name, shown in (("model.ckpt", True), ("other.ckpt", False)):
        result = {
            "checkpoint": f"somewhere/{name}",
            "metrics": {"test/recall@20": 0.1234, "test/n_users": 90.0},
            "masks": "train",
            "protocol": "All items compete.",
            "data": {"parts": {}},
        }
        (folder / "test.json").write_text(json.dumps(result))
        out = tmp_path / name
        assert main(["export", str(folder / "model.ckpt"), str(out)]) == 0
        assert ("| recall | 0.1234 |" in (out / "README.md").read_text()) == shown


def test_folder_that_holds_something_is_left_alone(
    exported: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in exported.parent.rglob("*"))
    assert main(["export", str(checkpoint), str(exported)]) == 2
    assert "something is there already" in capsys.readouterr().err
    assert sorted(path.name for path in exported.parent.rglob("*")) == before


def test_new_items_are_added_from_features_and_facts(
    checkpoint: Path, catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recommender = Recommender.from_checkpoint(checkpoint)
    first = recommender.items.ids[0].as_py()
    facts = [*facts_of(recommender, first, "like the first"), ("unknown", "r", "e")]
    of_known = facts_of(recommender, first, first)
    rows = ["head_id,relation_id,tail_id", *(",".join(fact) for fact in [*of_known, *facts])]
    (tmp_path / "kg.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "grown.csv").write_text(f"item_id\n{first}\nlike the first\nunknown\nunknown\n")
    store = store_of(catalogue, tmp_path)
    paths = {"new-items": tmp_path / "grown.csv", "facts": tmp_path / "kg.csv"}
    flags = [f"--{name}={path}" for name, path in (paths | {"features": store.path}).items()]
    assert main(["export", str(checkpoint), str(tmp_path / "out"), *flags]) == 0
    assert "new items: 2" in capsys.readouterr().out
    recommender.add_items(["like the first", "unknown"], stores={"text": store}, facts=facts)
    tensors = load_file(tmp_path / "out" / "embeddings.safetensors")
    np.testing.assert_allclose(tensors["items"], recommender.item_embeddings, atol=1e-6)
    ids = pq.read_table(tmp_path / "out" / "items.parquet")["item_id"].to_pylist()
    assert ids[60:] == ["like the first", "unknown"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["items"], manifest["new_items"], manifest["unknown_facts"]) == (62, 2, 1)
    assert "The last 2 items came after" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--features", "store"], "without --new-items"),
        (["--new-items", "known.csv"], "the model knows all 1 items"),
        (["--new-items", "new.csv"], "without features and facts"),
        (["--new-items", "new.csv", "--facts", "facts.csv"], "none of the 1 facts is of a new"),
    ],
)
def test_new_items_that_cannot_be_added_are_refused(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("known.csv").write_text("item_id\ni0000\n")
    Path("new.csv").write_text("item_id\ni9000\n")
    Path("facts.csv").write_text("head_id,relation_id,tail_id\ni0000,r,e\n")
    assert main(["export", str(checkpoint), "out", *flags]) == 2
    assert said in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize(("flag", "package"), [("--onnx", "onnx"), ("--faiss", "faiss")])
def test_missing_package_is_named_and_leaves_nothing(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flag: str,
    package: str,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not there
    assert main(["export", str(checkpoint), str(tmp_path / "out"), flag]) == 2
    assert "pip install 'slifmr-pl[" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("limit", [1 << 6, 1 << 11, 1 << 13])
def test_disk_that_is_full_is_said_and_nothing_is_left(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: int
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        status = main(["export", str(checkpoint), str(tmp_path / "out")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 2
    printed = capsys.readouterr().err
    assert "out: cannot be written (File too large)" in printed
    assert "fix: free space" in printed
    assert not list(tmp_path.iterdir())
