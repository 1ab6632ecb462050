"""Read JSON Lines: one object a line, in blocks; also one array of objects, as a whole."""

import json
from collections.abc import Callable, Generator, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from feature_extraction.errors import TableError
from feature_extraction.tables.text_files import line_blocks, plain_suffix

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_ROWS = 65_536  # objects take far more memory than their lines


def json_objects(
    path: Path, parse: Callable[[str], Any] = json.loads
) -> Generator[tuple[list[int], list[dict[str, Any]]]]:
    """Yield the objects of a file, a block at a time; blank lines are skipped.

    A ``.json`` file may hold one array of objects instead; it is read as a whole.

    Args:
        path: The file.
        parse: Makes an object of a line; raises ``ValueError`` or ``SyntaxError`` if it cannot.

    Yields:
        The 1-based line of each object, and the objects.

    Raises:
        TableError: A line cannot be read, or is no object.
    """
    blocks: Iterator[tuple[int, list[str]]] = line_blocks(path)
    if plain_suffix(path) == ".json":
        first_block = next(blocks, (1, []))
        if first_block[1] and first_block[1][0].lstrip().startswith("["):
            texts = [text for _, block in chain([first_block], blocks) for text in block]
            yield from _array(path, "\n".join(texts))
            return
        blocks = chain([first_block], blocks)
    for first, block in blocks:
        for start in range(0, len(block), _ROWS):
            texts = block[start : start + _ROWS]
            lines = [first + start + i for i, text in enumerate(texts) if text and text.strip()]
            objects = [_object(path, line, texts[line - first - start], parse) for line in lines]
            if objects:
                yield lines, objects


def json_table(objects: list[dict[str, Any]], names: list[str] | None = None) -> pa.Table:
    """Make a table of objects; what an object lacks is null, a column of mixed types is text.

    Args:
        objects: n objects.
        names: The columns; None takes all keys in the order of their first occurrence.
    """
    if names is None:
        names = list(dict.fromkeys(key for entry in objects for key in entry))
    return pa.table({name: _column([entry.get(name) for entry in objects]) for name in names})


def _array(path: Path, text: str) -> Generator[tuple[list[int], list[dict[str, Any]]]]:
    """The objects of an array, numbered from 1."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TableError(
            f"the array cannot be read ({type(error).__name__}: {error})",
            expected="one array of objects, or an object a line",
            fix="mend the file",
            path=path,
        ) from error
    wrong = next((n for n, entry in enumerate(found, start=1) if not isinstance(entry, dict)), None)
    if wrong is not None:
        raise TableError(
            f"entry {wrong} of the array is no object: {json.dumps(found[wrong - 1])[:120]}",
            expected="objects, such as [{'user_id': 'a', 'item_id': 'b'}, …]",
            fix="write the table as records (in pandas to_json(orient='records'))",
            path=path,
            row=wrong,
        )
    if found:
        yield list(range(1, len(found) + 1)), found


def _object(path: Path, line: int, text: str, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        value = parse(text)
    # Nesting or digits without end are refused by the parser in its own ways.
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise TableError(
            f"the line cannot be read ({type(error).__name__}: {error}): {text[:120]!r}",
            expected="one JSON object a line",
            fix="mend or remove the line",
            path=path,
            row=line,
        ) from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise TableError(
            f"the line holds no object: {text[:120]!r}",
            expected="one JSON object a line, such as {'user_id': 'a', 'item_id': 'b'}",
            fix="write an object a line",
            path=path,
            row=line,
        )
    return value


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    # Half of a surrogate pair ("\ud800") is valid in JSON, and no text.
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text.encode("utf-8", "replace").decode()
