from pathlib import Path

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.peers import generate, linked, summary
from benchmarks.peers_clock import Clock
from benchmarks.peers_public import measured, recall_and_ndcg, write_atomic_files


def test_public_code_is_measured_by_the_same_protocol() -> None:
    """Training items are masked, and a user who has none does not count."""
    users, items = {"a": 0, "b": 1}, {str(item): item for item in range(22)}
    scores = torch.arange(22.0).flip(0).repeat(2, 1)
    train = [["a", "0", 1.0], ["b", "1", 1.0]]
    part = [["a", "1", 1.0], ["a", "new", 1.0], ["b", "2", 1.0], ["c", "3", 1.0]]
    values = measured(scores, train, part, users, items)
    ideal = 1 + 1 / 1.584962500721156
    assert values["recall@20"] == pytest.approx((1 / 2 + 1) / 2)
    assert values["ndcg@20"] == pytest.approx((1 / ideal + 1 / 1.584962500721156) / 2)
    assert recall_and_ndcg([1, 2], {3}) == (0.0, 0.0)


def test_clock_keeps_the_best_epoch_and_the_way_to_it() -> None:
    clock = Clock()
    for epoch, value in enumerate([0.1, 0.3, 0.2], 1):
        clock.epochs.append(float(epoch))
        clock.validations.append(0.5)
        clock.validated(value)
    answer = clock.answer(7, {"recall@20": 0.4})
    assert (answer["best_epoch"], answer["to_best"], answer["valid"]) == (2, 4.0, 0.3)
    assert "recall@20 0.4000; validation 500 ms; to the best epoch (2) 4.00 s" in summary([answer])


def test_facts_are_written_for_recbole_in_both_directions(tmp_path: Path) -> None:
    source = tmp_path / "source"
    generate(source)
    (source / "i_id_mapping.csv").write_text(
        "item_id\titemID\n" + "".join(f"i{n}\t{n}\n" for n in range(40))
    )
    (source / "kg.csv").write_text("head_id,relation_id,tail_id\ni0,genre,g\n")
    data = linked(source, tmp_path / "linked")
    parts = write_atomic_files(data, tmp_path / "set")
    facts = (tmp_path / "set" / "set.kg").read_text().splitlines()[1:]
    assert facts == ["i0\tgenre\tg", "g\tgenre'\ti0"]
    lines = (tmp_path / "set" / "set.test.inter").read_text().splitlines()[1:]
    assert lines == [f"{user}\t{item}" for user, item, _ in parts[2]]
    assert all(item.startswith("i") for part in parts for _, item, _ in part)


def test_unknown_peer_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["peers", "--peers", "Nobody"]) == 2
    assert "no peer Nobody" in capsys.readouterr().err
