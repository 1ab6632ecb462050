"""Tables with column names of the user's own."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from feature_extraction.tables.columnar import is_columnar
from feature_extraction.tables.json_lines import JSON_SUFFIXES
from feature_extraction.tables.missing_columns import require_columns
from feature_extraction.tables.table_files import read_table
from feature_extraction.tables.text_files import plain_suffix
from slifmr_pl.data.canonical import INTERACTION_COLUMNS, REQUIRED, WITHOUT_HEADER, Kind
from slifmr_pl.data.formats.rdf_graph import facts_of, is_rdf
from slifmr_pl.data.reader import (
    Reader,
    Source,
    TablePiece,
    contents_of,
    not_used,
    renamed,
    table_pieces,
    unread_ratings,
)
from slifmr_pl.data.table_columns import FileRows, whole_numbers
from slifmr_pl.errors import ConfigError, DataError


class TableReader(Reader):
    """CSV, TSV, Parquet, Arrow or JSON lines with column names of your own.

    Files are looked for in the folder of the data set, if that is a folder.

    Args:
        interactions: File of interactions; not needed where the data set is that file.
        items: File with a row for each item.
        kg: File of the knowledge graph's facts; also an RDF graph, .nt or .ttl.
        links: File that says which entity an item is.
        user_column: What the files call `user_id`.
        item_column: What the files call `item_id`.
        rating_column: What the files call the rating; default: `rating`, where there is one.
        timestamp_column: What the files call the time; default: `timestamp`, where there is one.
        split_column: What the files call the part of the split; default: `split`, where there is
            one.
        head_column: What the files call `head_id`.
        relation_column: What the files call `relation_id`.
        tail_column: What the files call `tail_id`.
        entity_column: What the files call `entity_id`.
        sep: What separates the fields of text files, where their suffix does not tell.
        no_header: Whether the file of interactions begins with a row in place of column names.
        columns: Names of its columns then, in their order, separated by commas.
        items_columns: Names of the columns of `items`, where it begins with a row.
        kg_columns: Likewise of `kg`.
        links_columns: Likewise of `links`.
        whole_ids: Whether ids such as 12.0 are whole numbers, 12.
    """

    reads_files = True

    def __init__(
        self,
        interactions: Path | None = None,
        items: Path | None = None,
        kg: Path | None = None,
        links: Path | None = None,
        user_column: str = "user_id",
        item_column: str = "item_id",
        rating_column: str | None = None,
        timestamp_column: str | None = None,
        split_column: str | None = None,
        head_column: str = "head_id",
        relation_column: str = "relation_id",
        tail_column: str = "tail_id",
        entity_column: str = "entity_id",
        sep: str | None = None,
        no_header: bool = False,
        columns: str | None = None,
        items_columns: str | None = None,
        kg_columns: str | None = None,
        links_columns: str | None = None,
        whole_ids: bool = False,
    ) -> None:
        self.interactions = interactions
        self.beside: dict[Kind, Path | None] = {"items": items, "kg": kg, "links": links}
        self.required = {
            "user_id": user_column,
            "item_id": item_column,
            "head_id": head_column,
            "relation_id": relation_column,
            "tail_id": tail_column,
            "entity_id": entity_column,
        }
        self.optional = {
            "rating": rating_column,
            "timestamp": timestamp_column,
            "split": split_column,
        }
        self.sep = {"tab": "\t", "\\t": "\t"}.get(sep or "", sep)
        if no_header != (columns is not None):
            raise ConfigError(
                "no_header without columns" if no_header else "columns of a file with a header",
                expected="both no_header and columns, or neither",
                fix="--no-header --columns user_id,item_id,rating,timestamp, in the file's order",
            )
        given: dict[Kind, str | None] = {
            "interactions": columns,
            "items": items_columns,
            "kg": kg_columns,
            "links": links_columns,
        }
        self.names = {
            kind: None if text is None else self._names(text) for kind, text in given.items()
        }
        self.whole_ids = whole_ids
        self._require_files()

    def _names(self, columns: str) -> list[str]:
        """Names of columns, of which short ones such as `user` stand for `user_id`."""
        ours = {name.removesuffix("_id"): name for name in self.required} | {"time": "timestamp"}
        theirs = {**self.required, **self.optional}
        names = []
        for name in (name.strip() for name in columns.split(",")):
            known = ours.get(name, name) if name not in theirs.values() else name
            names.append((theirs.get(known) or known) if known != name else name)
        return names

    def _require_files(self) -> None:
        """Refuses options about files that are not given, or that have no columns."""
        for kind, file in self.beside.items():
            rdf = file is not None and is_rdf(file)
            if file is not None and not rdf:
                continue
            given = [f"{kind}_columns"] if self.names[kind] is not None else []
            own = [name for name in REQUIRED[kind] if name != "item_id"]
            given += [
                _option(name)[2:].replace("-", "_") for name in own if self.required[name] != name
            ]
            if given:
                raise ConfigError(
                    f"{', '.join(given)}, but {kind} is an RDF graph, which has no columns"
                    if rdf
                    else f"{', '.join(given)} without {kind}",
                    expected="options about files that are given",
                    fix=f"leave {', '.join(given)} out" + ("" if rdf else f", or give {kind}"),
                )

    def tables(self, path: Path) -> Source:
        """Open the files.

        Raises:
            TableError: A column is missing; when it is read.
            DataError: Nothing says which file holds the interactions.
            ConfigError: A separator is given, and no file has one.
        """
        folder = path if path.is_dir() else Path()
        file = folder / self.interactions if folder == path and self.interactions else path
        if file.is_dir():
            raise DataError(
                f"a folder, and no file of interactions is named; {contents_of(path)}",
                expected="the file of interactions, or its name in the folder",
                fix="set the option interactions of the reader TableReader",
                path=path,
            )
        files = [file, *(other for other in self.beside.values() if other is not None)]
        if self.sep is not None and all(self._sep_of(one) is None for one in files):
            raise ConfigError(
                f"a separator {self.sep!r}, and no file of text",
                expected="a separator of text files",
                fix="leave sep out",
            )
        source = Source({})
        source.tables["interactions"] = self._interactions(file, source)
        for kind, other in self.beside.items():
            if other is not None and is_rdf(other):
                source.tables[kind] = facts_of(folder / other, source.notes)
            elif other is not None:
                source.tables[kind] = self._whole(kind, folder / other, source.notes)
        return source

    def _interactions(self, path: Path, source: Source) -> Iterator[TablePiece]:
        names = {name: self.required[name] for name in REQUIRED["interactions"]}
        names |= {name: column for name, column in self.optional.items() if column is not None}
        unused: dict[str, None] = {}
        options = {column: _option(name) for name, column in names.items()}

        def ours(table: pa.Table) -> pa.Table:
            if not table.num_rows and not table.column_names:
                return table
            hint = WITHOUT_HEADER["interactions"]
            require_columns(table.column_names, list(names.values()), path, options, hint)
            there = [name for name in INTERACTION_COLUMNS if name in table.column_names]
            columns = {name: names.get(name, name) for name in (*names, *there)}
            used = set(columns.values())
            unused.update((name, None) for name in table.column_names if name not in used)
            return self._with_whole_ids(
                pa.table({name: table[column] for name, column in columns.items()})
            )

        rated = False
        for piece in table_pieces(path, ours, self._sep_of(path), self.names["interactions"]):
            rated = rated or "rating" in piece.table.column_names
            yield piece
        if unused:
            free = [
                _option(name)
                for name in self.optional
                if name not in names and (name != "rating" or not rated)
            ]
            takes = f"; {', '.join(free)} would read one" if free else ""
            source.notes.append(f"{not_used(unused, path.name)}{takes}")
            if not rated:
                source.cautions.extend(unread_ratings(unused))

    def _with_whole_ids(self, table: pa.Table) -> pa.Table:
        if not self.whole_ids:
            return table
        for place, name in enumerate(table.column_names):
            if name in self.required and name != "relation_id":
                table = table.set_column(place, name, whole_numbers(table[name]))
        return table

    def _whole(self, kind: Kind, path: Path, notes: list[str]) -> Iterator[TablePiece]:
        ours = {self.required[name]: name for name in REQUIRED[kind]}
        names, sep = self.names[kind], self._sep_of(path)
        table = read_table(path, sep=sep, names=names)
        options = {column: _option(name) for column, name in ours.items()}
        require_columns(table.column_names, list(ours), path, options, WITHOUT_HEADER[kind])
        nested = [field.name for field in table.schema if pa.types.is_nested(field.type)]
        nested = [name for name in nested if name not in ours]
        if nested:
            notes.append(f"{path.name}: {', '.join(nested)} hold lists or objects and are left out")
            table = table.drop_columns(nested)
        table = self._with_whole_ids(renamed(table, ours, path))
        # Rows are counted after a header.
        yield TablePiece(table, FileRows(path, 0 if names is None else -1, sep=sep))

    def _sep_of(self, path: Path) -> str | None:
        """The separator given, for text files; others have none."""
        return None if is_columnar(path) or plain_suffix(path) in JSON_SUFFIXES else self.sep


def _option(name: str) -> str:
    """The option of `import table` that says what files call a column."""
    return f"--{name.removesuffix('_id')}-column"
