"""MovieLens as GroupLens packs it: 100K (``u.data``), 1M and 10M (``.dat``), later ones (CSV)."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from feature_extraction.tables.missing_columns import require_columns
from slifmr_pl.data.formats.lines import encoding_of, fields_of
from slifmr_pl.data.reader import (
    Reader,
    Source,
    TablePiece,
    contents_of,
    not_used,
    other_files,
    renamed,
    table_pieces,
)
from slifmr_pl.errors import DataError

_Opener: TypeAlias = Callable[[Path], Iterable[TablePiece]]
_Movies: TypeAlias = Callable[[Path, str], Iterable[TablePiece]]  # also of the encoding

_RATINGS = ("user_id", "item_id", "rating", "timestamp")
_MOVIES = ("item_id", "title", "genres")
_OF_CSV = {"userId": "user_id", "movieId": "item_id"}
_UNREAD_100K = ("release date", "video release date", "IMDb URL")
_GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)


class MovieLensReader(Reader):
    """A MovieLens folder as GroupLens packs it: 100K, 1M, 10M, 20M and later.

    A movie has a title and genres. Titles that are not UTF-8 (as of 100K and 1M) are read as
    Latin-1, which is noted.
    """

    def tables(self, path: Path) -> Source:
        """Open ratings and movies.

        Raises:
            DataError: The folder holds none of the three kinds, or several.
        """
        kinds: dict[str, tuple[_Opener, str, _Movies]] = {
            "u.data": (lambda file: fields_of(file, _RATINGS, "\t"), "u.item", _movies_100k),
            "ratings.dat": (
                lambda file: fields_of(file, _RATINGS, "::"),
                "movies.dat",
                _movies_dat,
            ),
            "ratings.csv": (_csv, "movies.csv", _csv),
        }
        present = [name for name in kinds if (path / name).is_file()]
        if len(present) != 1:
            raise DataError(
                f"both {' and '.join(present)}" if present else f"no ratings; {contents_of(path)}",
                expected=f"one of {', '.join(kinds)}",
                fix="give the folder that the archive unpacks to",
                path=path,
            )
        ratings, movies_file, movies = kinds[present[0]]
        file = path / movies_file
        notes = other_files(path, [path / present[0], file])
        source = Source({"interactions": ratings(path / present[0])}, notes=notes)
        if file.exists():
            if file.name == "u.item":
                notes.append(not_used(_UNREAD_100K, file.name))
            encoding = "utf-8" if file.suffix == ".csv" else encoding_of(file, notes)
            source.tables["items"] = movies(file, encoding)
        return source


def _csv(path: Path, encoding: str = "utf-8") -> Iterator[TablePiece]:
    names = _RATINGS if path.name == "ratings.csv" else _MOVIES

    def ours(table: pa.Table) -> pa.Table:
        table = renamed(table, _OF_CSV, path)
        require_columns(table.column_names, names, path)
        return _with_genres(table)

    return table_pieces(path, ours)


def _movies_dat(path: Path, encoding: str) -> Iterator[TablePiece]:
    for part in fields_of(path, _MOVIES, "::", encoding):
        yield TablePiece(_with_genres(part.table), part.place)


def _movies_100k(path: Path, encoding: str) -> Iterator[TablePiece]:
    names = ("item_id", "title", *_UNREAD_100K, *_GENRES_100K)
    for part in fields_of(path, names, "|", encoding):
        table = part.table
        flags = [table[genre].to_pylist() for genre in _GENRES_100K]
        genres = [
            ", ".join(genre for genre, flag in zip(_GENRES_100K, of, strict=True) if flag == "1")
            for of in zip(*flags, strict=True)
        ]
        movies = {"item_id": table["item_id"], "title": table["title"], "genres": genres}
        yield TablePiece(pa.table(movies), part.place)


def _with_genres(table: pa.Table) -> pa.Table:
    if "genres" not in table.column_names:
        return table
    genres = pc.replace_substring(table["genres"], "|", ", ")
    return table.set_column(table.column_names.index("genres"), "genres", genres)
