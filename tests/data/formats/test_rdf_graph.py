"""Knowledge graphs in RDF: the triples as they are written, the same in both formats."""

import gzip
from pathlib import Path

import pytest

from slifmr_pl.config import optional
from slifmr_pl.data.dataset import FilterConfig, SplitConfig, build_dataset
from slifmr_pl.data.formats.data_folder import read
from slifmr_pl.data.formats.rdf_graph import facts_of
from slifmr_pl.data.formats.table import TableReader
from slifmr_pl.errors import ConfigError, DataError, UserFacingError
from tests.data.formats.folders import imported, write

PLAIN = "user_id,item_id\nu1,http://x/Foo\nu1,http://x/Bar\nu2,http://x/Foo\n"
N_TRIPLES = r"""# films
<http://x/Foo> <http://x/director> <http://x/Someone> .

<http://x/Foo> <http://x/label> "Foo, \"the\" caf\u00E9"@en .
<http://x/Foo> <http://x/year> "1999"^^<http://www.w3.org/2001/XMLSchema#gYear> .
_:z <http://x/about> <http://x/Foo> . # a blank node
<http://x/Bar> <http://x/see> _:z .
"""
TURTLE = """@prefix : <http://x/> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
:Foo :director :Someone ; :label 'Foo, "the" café'@en ; :year "1999"^^xsd:gYear .
_:some :about :Foo . :Bar :see _:some .
"""
FACTS = [
    ("http://x/Foo", "http://x/director", "http://x/Someone"),
    ("http://x/Foo", "http://x/label", '"Foo, "the" café"@en'),
    ("http://x/Foo", "http://x/year", '"1999"'),
    ("_:0", "http://x/about", "http://x/Foo"),
    ("http://x/Bar", "http://x/see", "_:0"),
]
NOTE = (
    '2 facts of {} end in a text, number or date, such as "Foo, "the" café"@en; each is an entity'
)
FILES = {
    "kg.nt": N_TRIPLES.encode(),
    "kg.nt.gz": N_TRIPLES.encode(),  # `write` compresses it
    "kg.ttl": TURTLE.encode(),
    "kg.TTL": TURTLE.encode(),
}


def rows_of(path: Path, notes: list[str]) -> list[tuple[str, ...]]:
    pieces = [piece.table.to_pylist() for piece in facts_of(path, notes)]
    return [tuple(row.values()) for piece in pieces for row in piece]


@pytest.mark.parametrize("name", FILES)
def test_triples_are_facts_as_they_are_written(tmp_path: Path, name: str) -> None:
    write(tmp_path, {name: FILES[name]})
    notes: list[str] = []
    assert rows_of(tmp_path / name, notes) == FACTS
    assert notes == [NOTE.format(name)]


@pytest.mark.parametrize("name", ["kg.nt", "kg.nt.gz", "kg.ttl"])
def test_graph_is_read_from_a_data_folder_and_imported(tmp_path: Path, name: str) -> None:
    files: dict[str, str | bytes] = {"interactions.csv": PLAIN, name: FILES[name]}
    raw = read(write(tmp_path / "data", files))
    data = build_dataset(raw, FilterConfig(), SplitConfig())
    assert data.summary.knowledge.triples == 5
    assert data.summary.knowledge.linked_items == 2
    assert raw.notes == (NOTE.format(name),)
    kg = tmp_path / "source" / name
    again, report = imported(tmp_path, "table", files, "interactions.csv", kg=kg)
    assert again.kg is not None
    assert [tuple(fact.values()) for fact in again.kg.to_pylist()] == FACTS
    assert report.notes == [NOTE.format(name)]


def test_graph_twice_in_a_folder_is_refused(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"interactions.csv": PLAIN, "kg.nt": "", "kg.csv": ""}
    with pytest.raises(DataError, match=r"several files named kg: kg.csv, kg.nt"):
        read(write(tmp_path, files))


@pytest.mark.parametrize(
    ("name", "text", "found", "row"),
    [
        ("kg.nt", N_TRIPLES + "<http://x/a> <http://x/b>\n", "the line is no triple", 8),
        ("kg.nt", "<a> <b> <c> .\n", "the line is no triple", 1),
        ("kg.nt", '"a" <http://x/b> <http://x/c> .\n', "Subject must be", 1),
        ("kg.ttl", TURTLE + ":a :b ;\n", "no Turtle", 5),
        ("kg.ttl", "film:1 film:by person:2 .\n", 'Prefix "film:" not bound', 1),
        ("kg.ttl", "<a> <b> <c> .\n", "no base URI, cannot deal with relative URIs", None),
        ("kg.ttl", "@prefix : <http://x/> .\n:a :b " + "(" * 9999, "cannot be read", None),
        ("kg.ttl", "@prefix : <http://x/> .\n:a :b :c", "no Turtle", 2),
        ("kg.nt", "", "the file is empty", None),
        ("kg.nt", b"\xff\n", "is not UTF-8", 1),
        ("kg.ttl", b"\xff\n", "is not UTF-8", 1),
    ],
)
def test_broken_graph_is_refused_with_its_row(
    tmp_path: Path, name: str, text: str | bytes, found: str, row: int | None
) -> None:
    write(tmp_path, {name: text})
    with pytest.raises(UserFacingError) as caught:
        rows_of(tmp_path / name, [])
    assert found in str(caught.value)
    assert (caught.value.path, caught.value.row) == (tmp_path / name, row)


def test_values_that_are_not_of_their_type_are_texts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    integer = "<http://www.w3.org/2001/XMLSchema#integer>"
    surrogate = r'<http://x/a> <http://x/b> "\ud800" .'
    text = f'<http://x/a> <http://x/n> "many"^^{integer} .\n{surrogate}\n'
    write(tmp_path, {"kg.nt": text})
    assert [fact[2] for fact in rows_of(tmp_path / "kg.nt", [])] == ['"many"', '"?"']
    assert not caplog.records


def test_graph_without_rdflib_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(module: str) -> None:
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr(optional, "import_module", absent)
    write(tmp_path, {"kg.nt": N_TRIPLES})
    with pytest.raises(ConfigError, match="needs rdflib") as caught:
        rows_of(tmp_path / "kg.nt", [])
    assert "pip install 'slifmr-pl[rdf]', or write it as a table" in caught.value.fix


@pytest.mark.parametrize("options", [{"head_column": "s"}, {"kg_columns": "head,relation,tail"}])
def test_options_about_columns_of_a_graph_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="is an RDF graph, which has no columns"):
        TableReader(kg=Path("kg.nt"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "fix"), [("r.nt", "read as a knowledge graph alone"), ("r.rdf", "rdfpipe -o nt")]
)
def test_graph_in_place_of_another_table_is_told_where_it_goes(
    tmp_path: Path, name: str, fix: str
) -> None:
    with pytest.raises(UserFacingError, match="suffix") as caught:
        imported(tmp_path, "table", {name: N_TRIPLES}, name)
    assert fix in caught.value.fix


def test_compressed_graph_is_unpacked_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "g.ttl.gz"
    path.write_bytes(gzip.compress(TURTLE.encode()))
    assert rows_of(path, []) == FACTS
