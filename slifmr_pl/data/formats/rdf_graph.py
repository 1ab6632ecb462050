"""Knowledge graphs in RDF: N-Triples, line by line, and Turtle, as a whole; read by rdflib."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from feature_extraction.tables.table_files import require_file
from feature_extraction.tables.text_files import line_blocks, plain_suffix
from slifmr_pl.config.optional import library
from slifmr_pl.data.canonical import KG_COLUMNS
from slifmr_pl.data.reader import TablePiece
from slifmr_pl.data.table_columns import FileRows
from slifmr_pl.errors import DataError

RDF_SUFFIXES = (".nt", ".ttl")


def is_rdf(path: Path) -> bool:
    """Whether a file's name says that it holds an RDF graph."""
    return plain_suffix(path) in RDF_SUFFIXES


def facts_of(path: Path, notes: list[str]) -> Iterator[TablePiece]:
    """Read the triples of a file as facts.

    An IRI is an id as it is, whole; blank nodes are numbered in their order. A text, number or
    date (a literal) stands in quotes, so that none is taken for an item by chance; such facts are
    noted.

    Args:
        path: The file, ``.nt`` or ``.ttl``, also compressed.
        notes: Takes the note.

    Raises:
        ConfigError: rdflib is not installed.
        DataError: The file is not in the format that its name says.
        TableError: It is missing, empty, or no text.
    """
    table = "write it as a table of three columns head_id, relation_id, tail_id"
    require_file(path)
    rdflib = library("rdflib", "rdf", f"the RDF graph {path.name}", table)
    # It warns of every number or date that is none, with a traceback; here they are texts.
    logging.getLogger("rdflib.term").setLevel(logging.ERROR)
    blank_nodes: dict[Any, str] = {}

    def as_id(term: Any) -> str:
        if isinstance(term, rdflib.BNode):
            return blank_nodes.setdefault(term, f"_:{len(blank_nodes)}")
        text = str(term)
        if isinstance(term, rdflib.Literal):
            text = f'"{text}"' + (f"@{term.language}" if term.language else "")
        # Half of a surrogate pair ("\\ud800") is valid there, and no text.
        return text.encode("utf-8", "replace").decode()

    literals, example = 0, ""
    for triples, lines in _turtle(path) if plain_suffix(path) == ".ttl" else _n_triples(path):
        ends = [tail for _, _, tail in triples if isinstance(tail, rdflib.Literal)]
        example = example or (as_id(ends[0]) if ends else "")
        literals += len(ends)
        columns = {
            name: pa.array([as_id(triple[place]) for triple in triples], pa.string())
            for place, name in enumerate(KG_COLUMNS)
        }
        yield TablePiece(pa.table(columns), FileRows(path, lines=lines))
    if literals:
        notes.append(
            f"{literals:,} facts of {path.name} end in a text, number or date, such as {example}; "
            "each is an entity"
        )


class _Triples(list[tuple[Any, ...]]):
    """Triples of rdflib's terms in their order; what its parser of N-Triples gives them to."""

    def triple(self, *terms: Any) -> None:
        self.append(terms)


def _n_triples(path: Path) -> Iterator[tuple[_Triples, Sequence[int]]]:
    """The triples of each block of lines, and their lines."""
    from rdflib.exceptions import ParserError
    from rdflib.plugins.parsers.ntriples import W3CNTriplesParser

    parser = W3CNTriplesParser()  # one, which remembers the names of blank nodes
    for first, block in line_blocks(path):
        triples = _Triples()
        parser.sink = cast("Any", triples)  # of which it calls `triple` alone
        lines: list[int] = []
        for line, text in enumerate(block, start=first):
            parser.line = text
            try:
                parser.parseline()
            except ParserError as error:
                raise DataError(
                    f"the line is no triple ({error}): {text[:120]!r}",
                    expected='<http://…> <http://…> <http://…> . or "a text" as the last',
                    fix="mend or remove the line",
                    path=path,
                    row=line,
                ) from error
            lines += [line] * (len(triples) - len(lines))
        yield triples, lines


def _turtle(path: Path) -> Iterator[tuple[_Triples, Sequence[int]]]:
    """All triples; their numbers stand for lines, since a line may hold many."""
    from rdflib import Graph
    from rdflib.plugins.parsers.notation3 import BadSyntax, RDFSink, SinkParser

    triples = _Triples()

    class Sink(RDFSink):
        def makeStatement(self, quadruple: Any, why: Any = None) -> None:  # noqa: N802
            formula, relation, head, tail = quadruple
            triples.append(tuple(self.normalise(formula, t) for t in (head, relation, tail)))

    text = "\n".join(line for _, block in line_blocks(path) for line in block) + "\n"
    try:
        SinkParser(Sink(Graph()), baseURI="", turtle=True).loadBuf(text)
    except BadSyntax as error:
        raise DataError(
            f"no Turtle ({error._why}): {text[error._i :].strip()[:80]!r}",
            expected="statements such as film:1 film:director person:2 .",
            fix="mend the file",
            path=path,
            row=text.count("\n", 0, error._i) + 1,
        ) from error
    except Exception as error:  # broken text ends its parser in whatever way
        raise DataError(
            f"the Turtle cannot be read ({type(error).__name__}: {error})",
            expected="whole statements, and whole IRIs or a line @base <http://…/> .",
            fix="mend the file; `rdfpipe -i turtle` of rdflib checks it",
            path=path,
        ) from error
    yield triples, range(1, len(triples) + 1)
