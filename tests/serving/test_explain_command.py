import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from slifmr_pl.callbacks.recommendations import FILE
from slifmr_pl.cli import main
from slifmr_pl.serving.recommender import Recommender


def test_explanation_names_ids_and_adds_up_to_the_score(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = pq.read_table(checkpoint.parent / FILE).to_pylist()[0]
    file = tmp_path / "why.json"
    ids = ["--user", best["user_id"], "--item", best["item_id"]]
    assert main(["explain", str(checkpoint), *ids, "--top", "3", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    first = printed.splitlines()[0]
    said, score = first.rsplit(" ", 1)
    assert said == f"User {best['user_id']}, item {best['item_id']}: score"
    assert float(score) == pytest.approx(best["score"], abs=1e-4)
    why = json.loads(file.read_text())
    catalogue = Recommender.from_checkpoint(checkpoint).catalogue
    known = {
        "item": catalogue.items,
        "user": catalogue.users,
        "modality": catalogue.items,
        "correlation": catalogue.items,
        "regression": catalogue.items,
        "fact": catalogue.entities,
    }
    for side in (why["user_side"], why["item_side"]):
        for shares in (side["kinds"], side["parts"]):
            assert sum(share["score"] for share in shares) == pytest.approx(best["score"], abs=1e-4)
        for part in side["parts"]:
            assert part["id"] in known[part["kind"]] if part["id"] else part["kind"] == "own"
            if part["relation"]:
                assert part["relation"].removeprefix("^") in catalogue.relations
        shown = [part for part in side["parts"] if part["kind"] in ("item", "fact")][:3]
        assert all(f"{part['score']:+.4f}" in printed for part in shown)
    kinds = {part["kind"] for part in why["item_side"]["parts"]}
    assert kinds == {"own", "user", "modality", "fact", "correlation", "regression"}


def test_explanation_begins_with_a_sentence_that_the_shares_hold(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = pq.read_table(checkpoint.parent / FILE).to_pylist()[0]
    file = tmp_path / "why.json"
    ids = ["--user", best["user_id"], "--item", best["item_id"]]
    assert main(["explain", str(checkpoint), *ids, "--json", str(file)]) == 0
    head, sentence = capsys.readouterr().out.splitlines()[:2]
    why = json.loads(file.read_text())
    assert (head.partition(",")[0], sentence) == (f"User {best['user_id']}", why["sentence"])
    parts = why["user_side"]["parts"]
    shares = {
        name: sum(part["score"] for part in parts if part["id"] == name)
        for name in {part["id"] for part in parts if part["id"]}
    }
    highest = sorted(shares.values(), reverse=True)[:2]
    assert [reason["score"] for reason in why["reasons"]] == pytest.approx(highest)
    for reason in why["reasons"]:
        assert reason["score"] == pytest.approx(shares[reason["id"]])
        assert ": ".join([reason["id"], ", ".join(reason["ties"])]).rstrip(": ") in sentence


def test_rows_without_a_share_are_not_printed(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = pq.read_table(checkpoint.parent / FILE).to_pylist()[0]
    ids = ["--user", best["user_id"], "--item", best["item_id"]]
    assert main(["explain", str(checkpoint), *ids, "--top", "100000"]) == 0
    rows = capsys.readouterr().out
    assert "+0.0000" not in rows
    assert "-0.0000" not in rows


def test_items_have_the_titles_of_a_table(
    checkpoint: Path, catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = csv.DictReader((catalogue / "items.csv").open(encoding="utf-8"))
    titles = {row["item_id"]: row["title"] for row in rows}
    best = pq.read_table(checkpoint.parent / FILE).to_pylist()[0]
    ids = ["--user", best["user_id"], "--item", best["item_id"]]
    table = str(catalogue / "items.csv")
    assert main(["explain", str(checkpoint), *ids, "--titles", table, "title"]) == 0
    printed = capsys.readouterr().out
    assert f"item {best['item_id']} ({titles[best['item_id']]}): score" in printed
    assert sum(f"{item} ({title})" in printed for item, title in titles.items() if title) > 5
    assert main(["explain", str(checkpoint), *ids, "--titles", table, "tilte"]) == 2
    assert "rename 'title' to 'tilte'" in capsys.readouterr().err


def test_unknown_id_is_refused(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(checkpoint), "--user", "nobody", "--item", "nothing"]) == 2
    assert "'nobody'" in capsys.readouterr().err
