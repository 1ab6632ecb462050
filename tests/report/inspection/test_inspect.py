import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from feature_extraction.stores.neighbour_quality import NeighbourQuality
from slifmr_pl.cli import main
from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.dataset import FilterConfig, RecommendationData, SplitConfig
from slifmr_pl.data.features import ModalitySource
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.report.inspection.inspect import Inspection, inspect
from slifmr_pl.report.inspection.inspection_page import as_page
from slifmr_pl.report.inspection.inspection_text import as_text
from slifmr_pl.report.inspection.notes import Note, notes
from tests.extending.parts.clusters_data import N_ITEMS, ClustersDataModule
from tests.tiny_runs import demo_data

# Ann: a in train and in test, b; Bob: b, c; Cid has a test interaction only.
INTERACTIONS = """user_id,item_id,timestamp,split
ann,a,1700000000,train
ann,a,1700000300,test
ann,b,1700000200,train
bob,b,1700000100,train
bob,c,1700000050,test
bob,A,1700000400,valid
cid,c,1700000500,test
"""
ITEMS = """item_id,title,cover
a,Alpha,a.png
A,Other alpha,gone.png
b,,
z,Nobody's,
"""
# e1 is a and b; e2 is c, and has no triple; `c` is an entity that is not the item c.
LINKS = "item_id,entity_id\na,e1\nb,e1\nc,e2\nA,e3\nA,e4\nz,e5\n"
KG = """head_id,relation_id,tail_id
e1,by,p
e3,by,p
e3,by,p
e4,in,q
q,of,r
c,of,r
x,of,y
x,of,x
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("odd") / "<b>shop"
    root.mkdir()
    for name, content in (
        ("interactions", INTERACTIONS),
        ("items", ITEMS),
        ("links", LINKS),
        ("kg", KG),
    ):
        (root / f"{name}.csv").write_text(content)
    Image.new("RGB", (4, 4)).save(root / "a.png")
    return root


def look(folder: Path, **options: Any) -> Inspection:
    options = {"split": SplitConfig("given"), **options}
    return inspect(SlifMrDataModule(str(folder), **options)).findings


@pytest.fixture(scope="module")
def findings(folder: Path) -> Inspection:
    return look(folder)


def said(findings: Inspection, part: str) -> Note:
    (note_of_part,) = [note for note in notes(findings) if part in note.found]
    return note_of_part


def test_sizes_and_spread(findings: Inspection) -> None:
    summary = findings.summary
    assert (summary.users, summary.items, summary.train, summary.test) == (3, 4, 3, 2)
    assert findings.density == 6 / 12
    assert (findings.users.minimum, findings.users.median, findings.users.maximum) == (1, 2, 3)
    assert findings.items.at_least == ((1, 1.0), (2, 0.5))
    assert findings.few == 2


def test_range_of_time_and_leaks(findings: Inspection) -> None:
    times = findings.times
    assert times is not None
    assert (times.first, times.last) == ("2023-11-14 22:13 UTC", "2023-11-14 22:21 UTC")
    # Bob's c is older than his b. Two training interactions are newer than it.
    assert (times.held_out, times.before_training, times.after_first_test) == (3, 1, 2)
    assert "33%" in said(findings, "older than a training interaction").found
    assert findings.in_several_parts == 1
    assert said(findings, "more than one part").level == "warning"


def test_leaks_are_counted_of_what_the_filters_keep(tmp_path: Path) -> None:
    rows = ["u,a,1,30,train", "u,b,5,20,test", "u,c,5,10,train", "v,b,5,1,train"]
    (tmp_path / "interactions.csv").write_text(
        "user_id,item_id,rating,timestamp,split\n" + "\n".join(rows)
    )
    split = SplitConfig("given", (0.8, 0.0, 0.2))
    everything = look(tmp_path, split=split).times
    liked = look(tmp_path, split=split, filters=FilterConfig(minimum_rating=2)).times
    assert everything is not None
    assert liked is not None
    assert (everything.before_training, everything.last) == (1, "30")
    assert (liked.before_training, liked.last) == (0, "20")


def test_cold_users_and_items_and_lookalikes(findings: Inspection) -> None:
    assert said(findings, "users have no training").found.startswith("1 ")
    assert said(findings, "items have no training").found.startswith("2 ")
    assert (findings.lookalikes, findings.lookalike_examples) == (1, [("A", "a")])
    assert "keep_cold_items" in said(findings, "without an interaction that counts").effect


def test_knowledge_graph(findings: Inspection) -> None:
    knowledge = findings.knowledge
    assert knowledge is not None
    assert [(r.name, r.triples, r.items) for r in knowledge.relations] == [
        ("of", 3, 0),
        ("by", 2, 2),
        ("in", 1, 1),
    ]
    # p and q are next to items, r is one step on with the entity c, x and y are apart.
    assert (knowledge.next_to_items, knowledge.further, knowledge.orphans) == (2, 2, 2)
    assert knowledge.collisions == ("c",)
    assert knowledge.links_without_triples == 1
    assert knowledge.items_with_several_entities == 1
    (conflict,) = knowledge.conflict_examples
    assert (conflict.entity, conflict.keeps, conflict.loses) == ("e1", "a", ("b",))
    assert knowledge.conflicts == findings.summary.knowledge.contested_links == 1


def test_samples_of_links_come_with_facts_to_check_them_by(findings: Inspection) -> None:
    assert findings.knowledge is not None
    by_item = {sample.item: sample for sample in findings.knowledge.samples}
    assert set(by_item) == {"a", "A"}
    assert by_item["A"].entities == ("e3", "e4")
    assert by_item["A"].alike == ("a",)
    assert set(by_item["A"].facts) == {"by: p", "in: q"}


def test_rare_facts_make_items_alike(tmp_path: Path) -> None:
    items = "abcd"
    (tmp_path / "interactions.csv").write_text(
        "user_id,item_id\n" + "".join(f"{u},{i}\n" for u in "uv" for i in items)
    )
    shared = [f"{item},{relation},all" for item in "abcd" for relation in ("in", "from")]
    rare = ["a,by,p", "b,by,p"]
    (tmp_path / "kg.csv").write_text("head_id,relation_id,tail_id\n" + "\n".join(shared + rare))
    findings = look(tmp_path, split=SplitConfig())
    assert findings.knowledge is not None
    alike = {sample.item: sample.alike for sample in findings.knowledge.samples}
    assert alike["a"][0] == "b"
    assert alike["b"][0] == "a"


@pytest.mark.parametrize("right", [True, False])
def test_texts_tell_whether_links_can_be_right(tmp_path: Path, right: bool) -> None:
    n, kinds = 120, 12
    order = np.arange(n) if right else np.random.default_rng(0).permutation(n)
    tables = {
        "interactions": ("user_id,item_id", [f"u{row % 7},i{row}" for row in range(n)]),
        "items": ("item_id,title", [f"i{row},kind{row % kinds} number{row}" for row in range(n)]),
        "links": ("item_id,entity_id", [f"i{row},e{entity}" for row, entity in enumerate(order)]),
        "kg": ("head_id,relation_id,tail_id", [f"e{row},is,kind{row % kinds}" for row in range(n)]),
    }
    for name, (header, rows) in tables.items():
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *rows]))
    findings = look(tmp_path, split=SplitConfig())
    assert findings.knowledge is not None
    agreement = findings.knowledge.agreement
    assert agreement is not None
    assert (agreement.items, agreement.certain) == (n, right)
    noted = any("words in common" in note.found for note in notes(findings))
    assert noted is not right
    if right:  # one of three words, always; at random, one time in twelve
        assert agreement.alike == pytest.approx(1 / 3)
        assert agreement.random < 0.1


def test_modalities_by_column_or_as_configured(folder: Path, findings: Inspection) -> None:
    title, cover = findings.coverage
    assert (title.name, title.present, title.missing) == ("title", 2, 2)
    assert (cover.present, cover.missing, cover.unusable) == (1, 2, {"file not found": 1})
    (missing_file,) = cover.examples.values()
    said_of_it = said(findings, "cover cannot be used").found
    assert f"1 file not found, such as {missing_file!r}" in said_of_it
    text = ModalitySource("bert", "any", columns=("title", "cover"))
    (configured,) = look(folder, modalities={"text": text}).coverage
    assert (configured.name, configured.present) == ("text", 2)


@pytest.mark.parametrize("place", ["covers", "covers.zip"])
@pytest.mark.parametrize("kind", ["clip-image", "vit"])
def test_pictures_are_looked_for_where_the_modality_has_them(
    folder: Path, tmp_path: Path, place: str, kind: str
) -> None:
    shutil.copytree(folder, tmp_path / "shop")
    (tmp_path / "shop" / "covers").mkdir()
    (tmp_path / "shop" / "a.png").rename(tmp_path / "shop" / "covers" / "a.png")
    if place.endswith("zip"):
        shutil.make_archive(str(tmp_path / "shop" / "covers"), "zip", tmp_path / "shop" / "covers")
    source = ModalitySource(kind, "any", columns=("cover",), files=place)
    (cover,) = look(tmp_path / "shop", modalities={"cover": source}).coverage
    assert (cover.source, cover.present, cover.missing) == ("pictures of cover", 1, 2)
    assert sum(cover.unusable.values()) == 1
    assert set(cover.examples.values()) == {"gone.png"}


def test_modality_that_training_would_refuse_is_said(folder: Path) -> None:
    source = ModalitySource("bert", "any", columns=("title", "blurb"))
    refused = look(folder, modalities={"text": source})
    assert said(refused, "text has no source: no column blurb").level == "warning"


def test_clean_data_have_no_notes(tmp_path: Path) -> None:
    rows = "".join(f"u{u},i{i}\n" for u in range(12) for i in range(12))
    (tmp_path / "interactions.csv").write_text("user_id,item_id\n" + rows)
    inspected = inspect(SlifMrDataModule(str(tmp_path)))
    assert notes(inspected.findings) == []
    assert (
        inspected.findings.times,
        inspected.findings.knowledge,
        inspected.findings.coverage,
    ) == (
        None,
        None,
        [],
    )
    assert "Nothing odd" in as_page(inspected)
    assert "12 users, 12 items" in as_text(inspected.findings)


def test_own_data_module_is_inspected(tmp_path: Path) -> None:
    data = ClustersDataModule(cache_dir=str(tmp_path))
    findings = inspect(data).findings
    assert (findings.name, findings.summary.items) == ("ClustersDataModule", N_ITEMS)
    assert findings.knowledge is not None
    assert [relation.name for relation in findings.knowledge.relations] == ["is"]
    assert findings.settings["use_knowledge"] is True
    assert "Data of ClustersDataModule" in as_page(inspect(data))


def test_own_data_set_in_rows_is_inspected_without_what_tables_tell(tmp_path: Path) -> None:
    class Numbered(ClustersDataModule):
        def dataset(self) -> RecommendationData:
            return data.data

    data = ClustersDataModule(cache_dir=str(tmp_path))
    findings = inspect(Numbered()).findings
    assert (findings.users, findings.knowledge) == (inspect(data).findings.users, None)


def test_tables_are_read_once_and_not_kept_beyond_the_graphs(tmp_path: Path) -> None:
    class Counted(ClustersDataModule):
        reads = 0

        def tables(self) -> RawData:
            self.reads += 1
            return super().tables()

    data = Counted(cache_dir=str(tmp_path))
    inspect(data)
    _ = data.model_inputs
    assert data.reads == 1
    assert "raw" not in vars(data)


def test_nothing_to_inspect_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect"]) == 2
    assert "no data are named" in capsys.readouterr().err


def test_command_prints_and_writes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("data: {split: {strategy: given}}\nmodel: {anything: goes}\n")
    command = ["inspect", str(folder), "--config", str(config), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.count("! 1 pairs of user and item are in more than one part") == 1
    assert printed.index("\n! ") < printed.index("\n- ")
    record = json.loads((tmp_path / "out" / "<b>shop.json").read_text())
    assert record["summary"]["items"] == 4
    assert record["knowledge"]["relations"][0]["name"] == "of"
    document = (tmp_path / "out" / "<b>shop.html").read_text()
    assert "<b>shop" not in document
    assert "Alpha (a)" in document


@pytest.mark.parametrize(
    ("content", "expected"),
    [("data: {filter: {k_core: 5}}", "filter"), ("- data", "cannot be read")],
)
def test_bad_configuration_is_refused(
    content: str,
    expected: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(content)
    assert main(["inspect", str(folder), "--config", str(config), "--out", str(tmp_path)]) == 2
    assert expected in capsys.readouterr().err


def test_configuration_that_is_not_there_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["inspect", str(folder), "--config", str(tmp_path / "mine.yaml")])
    assert "there is no file" in capsys.readouterr().err


def test_signal_of_features_that_are_there_is_measured_and_no_encoder_runs(
    catalogue: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = demo_data(catalogue)
    module.prepare_data()
    monkeypatch.setattr("slifmr_pl.data.features.extract", None)  # to encode would fail
    findings = inspect(demo_data(catalogue)).findings
    assert list(findings.signal) == ["image", "text"]
    graph = module.model_inputs.graph.modalities["image"].indices
    assert findings.signal["image"].items == int((graph >= 0).any(1).sum())
    assert f"image, nearest neighbours: lift {findings.signal['image'].lift:.2f}" in as_text(
        findings
    )
    nowhere = inspect(demo_data(catalogue, cache_dir=str(cache / "empty"))).findings
    assert nowhere.signal == {}


def test_modality_at_chance_is_a_warning(findings: Inspection) -> None:
    useless = NeighbourQuality(items=4, lift=1.01, error=0.02, orphans=0.5, largest_hub=3)
    useful = NeighbourQuality(items=4, lift=1.4, error=0.02, orphans=0.1, largest_hub=3)
    changed = replace(findings, signal={"cover": useless, "title": useful})
    note = said(changed, "hardly more often than by chance")
    assert note.level == "warning"
    assert "neighbours by cover" in note.found
    assert "1.01 ± 0.02" in as_text(changed)


def test_signal_is_on_the_page(folder: Path) -> None:
    inspected = inspect(SlifMrDataModule(str(folder), split=SplitConfig("given")))
    quality = NeighbourQuality(items=4, lift=1.234, error=0.02, orphans=0.125, largest_hub=3)
    changed = replace(inspected.findings, signal={"cover": quality})
    page = as_page(inspected._replace(findings=changed))
    assert "1.23 ± 0.02" in page
    assert "12.5%" in page
