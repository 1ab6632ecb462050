"""Last.fm of HetRec 2011 as GroupLens packs it: listeners, artists, and the artists' tags."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from slifmr_pl.data.formats.lines import encoding_of, fields_of
from slifmr_pl.data.reader import (
    Reader,
    Source,
    TablePiece,
    contents_of,
    not_used,
    other_files,
)
from slifmr_pl.data.table_columns import FileRows
from slifmr_pl.errors import DataError

_FILES = {
    "user_artists.dat": ("userID", "artistID", "weight"),
    "artists.dat": ("id", "name", "url", "pictureURL"),
    "tags.dat": ("tagID", "tagValue"),
    "user_taggedartists.dat": ("userID", "artistID", "tagID", "day", "month", "year"),
}
_UNREAD = {
    "artists.dat": ("url", "pictureURL"),
    "user_taggedartists.dat": ("day", "month", "year"),
}
_TAGS_IN_TEXT = 10
_USERS_OF_A_FACT = 2

TagCounts = dict[str, dict[str, int]]
"""By artist, how many users gave each tag; the most given come first."""


class HetRecReader(Reader):
    """Last.fm of HetRec 2011 as GroupLens packs it, with its tags as knowledge graph.

    An interaction's rating is how often the user listened. An item has its name and the ten tags
    that most users gave it; a tag that at least two users gave is a fact of the knowledge graph.
    Tags that are not UTF-8 are read as Latin-1, which is noted.
    """

    def tables(self, path: Path) -> Source:
        """Open listening counts, artists and tags.

        Raises:
            DataError: A file is missing.
        """
        missing = [name for name in _FILES if not (path / name).is_file()]
        if missing:
            raise DataError(
                f"no {', '.join(missing)}; {contents_of(path)}",
                expected=", ".join(_FILES),
                fix="give the folder that hetrec2011-lastfm-2k.zip unpacks to",
                path=path,
            )
        notes = other_files(path, [path / name for name in _FILES])
        notes += [not_used(columns, name) for name, columns in _UNREAD.items()]
        artist_encoding, tag_encoding = (
            encoding_of(path / name, notes) for name in ("artists.dat", "tags.dat")
        )
        tags = cache(lambda: _tag_counts(path, tag_encoding))  # for items and facts
        return Source(
            {
                "interactions": _interactions(path),
                "items": _items(path, artist_encoding, tags),
                "kg": _facts(path, tags),
            },
            notes=notes,
        )


def _rows(path: Path, encoding: str = "utf-8") -> Iterator[TablePiece]:
    """The file in parts, without the line of column names that it begins with."""
    names = _FILES[path.name]
    read = fields_of(path, names, "\t", encoding)
    parts = (part for part in read if len(part.table))
    first = next(parts, None)
    header = () if first is None else tuple(first.table[name][0].as_py() for name in names)
    if first is None or header != names:
        raise DataError(
            f"the columns {', '.join(header)}" if header else "the file is empty",
            expected=", ".join(names),
            fix="take the file as it was unpacked",
            path=path,
            row=1,
        )
    assert first.place.lines is not None
    yield TablePiece(first.table.slice(1), FileRows(path, lines=first.place.lines[1:]))
    yield from parts


def _interactions(root: Path) -> Iterator[TablePiece]:
    for part in _rows(root / "user_artists.dat"):
        yield TablePiece(part.table.rename_columns(["user_id", "item_id", "rating"]), part.place)


def _items(root: Path, encoding: str, tags: Callable[[], TagCounts]) -> Iterator[TablePiece]:
    for part in _rows(root / "artists.dat", encoding):
        ids = part.table["id"]
        texts = [", ".join(list(tags().get(id, ()))[:_TAGS_IN_TEXT]) for id in ids.to_pylist()]
        table = pa.table({"item_id": ids, "name": part.table["name"], "tags": texts})
        yield TablePiece(table, part.place)


def _facts(root: Path, tags: Callable[[], TagCounts]) -> Iterator[TablePiece]:
    triples = [
        (artist, "tagged", f"tag:{tag}")
        for artist, counts in tags().items()
        for tag, users in counts.items()
        if users >= _USERS_OF_A_FACT
    ]
    columns = zip(*triples, strict=True) if triples else [(), (), ()]
    names = ("head_id", "relation_id", "tail_id")
    table = {
        name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)
    }
    yield TablePiece(pa.table(table), FileRows(root / "user_taggedartists.dat"))


def _tag_counts(root: Path, encoding: str) -> TagCounts:
    names = {
        row["tagID"]: row["tagValue"]
        for part in _rows(root / "tags.dat", encoding)
        for row in part.table.to_pylist()
    }
    given = pa.concat_tables(part.table for part in _rows(root / "user_taggedartists.dat"))
    tags = pa.array([names.get(tag) for tag in given["tagID"].to_pylist()], pa.string())
    named = given.append_column("tag", tags).filter(pc.is_valid(tags))
    counted = named.group_by(["artistID", "tag"]).aggregate([("userID", "count_distinct")])
    by_artist = defaultdict(list)
    for row in counted.to_pylist():
        by_artist[row["artistID"]].append((-row["userID_count_distinct"], row["tag"]))
    return {
        artist: {tag: -negative for negative, tag in sorted(counts)}
        for artist, counts in by_artist.items()
    }
