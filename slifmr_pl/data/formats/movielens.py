"""MovieLens as GroupLens packs it: 100K (``u.data``), 1M and 10M (``.dat``), later ones (CSV)."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from feature_extraction.tables.table_files import require_columns
from slifmr_pl.data.formats.lines import encoding_of, fields_of
from slifmr_pl.data.formats.source import Part, Source, found_in, parts_of
from slifmr_pl.errors import DataError

_RATINGS = ("user_id", "item_id", "rating", "timestamp")
_MOVIES = ("item_id", "title", "genres")
_OF_CSV = {"userId": "user_id", "movieId": "item_id"}
_GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)


def open_source(root: Path) -> Source:
    """Open ratings and movies; a movie has a title and genres.

    Titles that are not UTF-8 (as of 100K and 1M) are read as Latin-1, which is noted.

    Raises:
        DataError: The folder holds none of the three kinds, or several.
    """
    kinds: dict[str, tuple[Callable[[Path], Iterable[Part]], str, Callable[[Path], Iterable[Part]]]]
    kinds = {
        "u.data": (lambda path: fields_of(path, _RATINGS, "\t"), "u.item", _movies_100k),
        "ratings.dat": (lambda path: fields_of(path, _RATINGS, "::"), "movies.dat", _movies_dat),
        "ratings.csv": (_csv, "movies.csv", _csv),
    }
    found = [name for name in kinds if (root / name).is_file()]
    if len(found) != 1:
        raise DataError(
            f"both {' and '.join(found)}" if found else f"no ratings; {found_in(root)}",
            expected=f"one of {', '.join(kinds)}",
            fix="give the folder that the archive unpacks to",
            path=root,
        )
    ratings, movies_file, movies = kinds[found[0]]
    source = Source({"interactions": ratings(root / found[0])})
    path = root / movies_file
    if path.exists():
        source.tables["items"] = movies(path)
        if path.suffix != ".csv" and encoding_of(path) != "utf-8":
            source.notes.append(f"{path.name} is not UTF-8 and was read as Latin-1")
    return source


def _csv(path: Path) -> Iterator[Part]:
    names = _RATINGS if path.name == "ratings.csv" else _MOVIES

    def renamed(table: pa.Table) -> pa.Table:
        table = table.rename_columns([_OF_CSV.get(name, name) for name in table.column_names])
        require_columns(table.column_names, names, path)
        return _with_genres(table.select(names))

    return parts_of(path, renamed)


def _movies_dat(path: Path) -> Iterator[Part]:
    for part in fields_of(path, _MOVIES, "::", encoding_of(path)):
        yield Part(_with_genres(part.table), part.origin)


def _movies_100k(path: Path) -> Iterator[Part]:
    names = ("item_id", "title", "release", "video release", "url", *_GENRES_100K)
    for part in fields_of(path, names, "|", encoding_of(path)):
        table = part.table
        flags = [table[genre].to_pylist() for genre in _GENRES_100K]
        genres = [
            ", ".join(genre for genre, flag in zip(_GENRES_100K, of, strict=True) if flag == "1")
            for of in zip(*flags, strict=True)
        ]
        movies = {"item_id": table["item_id"], "title": table["title"], "genres": genres}
        yield Part(pa.table(movies), part.origin)


def _with_genres(table: pa.Table) -> pa.Table:
    if "genres" not in table.column_names:
        return table
    genres = pc.replace_substring(table["genres"], "|", ", ")
    return table.set_column(table.column_names.index("genres"), "genres", genres)
