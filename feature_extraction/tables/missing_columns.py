"""Say what to do where a table lacks a column: another separator, no header, or other names."""

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from feature_extraction.errors import TableError
from feature_extraction.tables.columnar import is_columnar
from feature_extraction.tables.delimited import mend_separator, mistaken_separator
from feature_extraction.tables.json_lines import JSON_SUFFIXES
from feature_extraction.tables.text_files import plain_suffix

_VALUE = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|[a-z]+://.*")  # no name of a column


def require_columns(
    columns: Sequence[str],
    required: Sequence[str],
    path: Path,
    options: Mapping[str, str] = MappingProxyType({}),
    without_header: str = "",
) -> None:
    """Raise ``TableError`` if a required column is not there.

    Args:
        columns: Column names that the file has.
        required: Column names that it must have.
        path: The file, for the message.
        options: By required name, the option that says what the file calls it.
        without_header: The options that read a file whose first line is a row.

    Raises:
        TableError: A column is missing; names those found and the closest ones.
    """
    name = next((name for name in required if name not in columns), None)
    if name is None:
        return
    close = nearest(name, [column for column in columns if column not in required])
    mark = mistaken_separator(columns)
    rename = f"rename {close[0]!r} to {name!r}" if close else ""
    if mark is not None:
        fix = mend_separator(mark)
    elif _is_text(path) and any(map(_VALUE.fullmatch, columns)):
        fix = "the first line seems to be a row and no header: add one"
        fix += f", or give {without_header}" if without_header else ""
    elif name in options:
        others = f" (or {', '.join(close[1:])})" if close[1:] else ""
        called = shlex.quote(close[0]) if close else "NAME"
        fix = f"say what the file calls it with {options[name]} {called}{others}, or "
        fix += rename or "add the column"
        if not close and without_header and _is_text(path):
            fix += f"; if the first line is a row already, give {without_header}"
    else:
        fix = rename or f"add the column {name!r}"
    raise TableError(
        f"column {name!r} is missing; found {', '.join(map(repr, columns))}",
        expected=f"columns {', '.join(map(repr, required))}",
        fix=fix,
        path=path,
    )


def nearest(name: str, names: Sequence[str]) -> list[str]:
    """Names that are most like one, whatever their case and the blanks around them."""
    plain: dict[str, str] = {}
    for other in names:
        plain.setdefault(other.strip().lower(), other)
    close = difflib.get_close_matches(name.lower(), plain, n=3, cutoff=0.5)
    synonyms = _SYNONYMS.get(name, ())
    known = [other for other in plain if other == name or other in synonyms]
    if known[:1] == [name]:
        return [plain[name]]  # but for case and blanks
    return [plain[other] for other in dict.fromkeys([*known, *close])]


def _is_text(path: Path) -> bool:
    """Whether a file has lines, of which the first may be no header."""
    return bool(path.suffix) and not is_columnar(path) and plain_suffix(path) not in JSON_SUFFIXES


_SYNONYMS = {
    "user_id": ("customer", "customer_id", "userid", "user", "reviewerid", "uid", "session_id"),
    "item_id": ("asin", "parent_asin", "movieid", "item", "itemid", "product_id", "venue_id"),
    "rating": ("stars", "score", "overall", "label", "rate"),
    "timestamp": ("time", "date", "unixreviewtime", "created_at", "datetime"),
    "head_id": ("head", "subject", "source", "s", "h"),
    "relation_id": ("relation", "predicate", "property", "p", "r"),
    "tail_id": ("tail", "object", "target", "o", "t"),
    "entity_id": ("entity", "freebase_id", "uri", "qid"),
}
"""What other files call the columns, in small letters."""
