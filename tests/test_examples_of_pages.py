"""What pages show of `explain` and `compare` has the form of what these print now.

The numbers on the pages are of runs on the demo; here smaller ones are printed, and lines are
compared with numbers, views and names of items taken out.
"""

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from slifmr_pl.callbacks.recommendations import FILE
from slifmr_pl.cli import main
from tests.studies.run_folders import write_run

DOCS = Path(__file__).parents[1] / "docs"


def example(page: str, begins: str) -> str:
    """The block of a page whose text begins so."""
    text = (DOCS / page).read_text("utf-8")
    found = re.search(rf"^```\n({re.escape(begins)}.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found is not None, begins
    return found[1]


def form(line: str) -> str:
    """A line without what depends on the data."""
    line = re.sub(r"[┏┳┓┡╇┩└┴┘━─┃│…]+", " ", line)
    line = re.sub(r"\b[ui]\d+( \(.*\))?", "ID", line)
    line = re.sub(r"(< )?[+-]?\d[\d.]*%?", "0", line)
    line = re.sub(r"\b(text|image|knowledge|interaction)\b", "VIEW", line)
    return " ".join(line.split())


def forms(text: str) -> set[str]:
    return {form(line) for line in text.splitlines()} - {""}


def test_explain_prints_what_its_page_shows(
    checkpoint: Path, catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = pq.read_table(checkpoint.parent / FILE).to_pylist()[0]
    ids = ["--user", best["user_id"], "--item", best["item_id"]]
    titles = ["--titles", str(catalogue / "items.csv"), "title"]
    assert main(["explain", str(checkpoint), *ids, *titles, "--top", "2"]) == 0
    printed = forms(capsys.readouterr().out)
    kinds_alone = re.sub(r"^│ +[+-][\d.]+ │   .*$", "", example("serving.md", "User u"), flags=re.M)
    shown = forms(kinds_alone)
    sentence = {line for line in shown if line.startswith("Because of")}
    assert len(sentence) == 1
    assert shown - sentence <= printed
    assert any(line.startswith("Because of ID") for line in printed)


def test_compare_prints_what_its_page_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = np.random.default_rng(1)
    runs = {
        (name, seed): write_run(
            tmp_path / f"{name}{seed}",
            {metric: draw.random(50) for metric in ("recall@20", "ndcg@20")},
            seed=seed,
            settings={"model": {"dim": dim}},
        )
        for name, dim in (("LightGCN", 8), ("SLIF-MR", 9))
        for seed in (1, 2, 3)
    }
    metrics = ["--metrics", "recall@20,ndcg@20"]
    assert main(["compare", *(str(runs[n, 1]) for n in ("LightGCN", "SLIF-MR")), *metrics]) == 0
    shown = forms(example("comparing.md", "A: "))
    names = {line for line in shown if re.match(r"[AB]: |coverage", line)}
    # A page has 10000 resamples, and so has the default.
    assert shown - names <= forms(capsys.readouterr().out)

    groups = [
        f"--group={name}={','.join(str(runs[name, seed]) for seed in (1, 2, 3))}"
        for name in ("LightGCN", "SLIF-MR")
    ]
    assert main(["compare", *groups, *metrics]) == 0
    assert forms(example("comparing.md", "Mean [")) <= forms(capsys.readouterr().out)


def test_another_form_would_be_seen() -> None:
    assert form("│ +0.8472 │   i0043 (Pièce en lin) │") == form("│ -0.1 │ i1 (A (b)) │") == "0 ID"
    assert form("│ recall@20 │ < 0.0001 │") == form("┃ recall@5 ┃ 0.5")
    assert form("│ metric │ p, t-test │") != form("│ metric │ p │")
