"""Texts: HTML out, Unicode normalised, fields put into a template."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

from feature_extraction.errors import FeatureError, InputError
from feature_extraction.items.raw_modality import RawModality

TEXT_SEPARATOR = ". "
"""What joins the text columns of an item."""

_SILENT = {"script", "style"}
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def clean_text(text: str) -> str:
    """Return a text without HTML, in Unicode NFC, with single spaces.

    Tags become spaces, references such as ``&amp;`` what they stand for; scripts and styles go.
    A ``<`` that begins no tag stays.

    Args:
        text: Any text; without ``<`` and ``&`` it is not parsed.
    """
    if "<" in text or "&" in text:
        parser = _TextOnly()
        parser.feed(text)
        parser.close()
        text = "".join(parser.parts)
    return " ".join(unicodedata.normalize("NFC", text).split())


class TextModality(RawModality):
    """Texts: the columns of an item, cleaned and made into one.

    Args:
        template: How columns are put together, see ``TextTemplate``; None joins them by
            ``TEXT_SEPARATOR``.

    Raises:
        FeatureError: The template is wrong.
    """

    name = "text"
    expects = "strings of valid Unicode, or numbers"
    several = False

    def __init__(self, template: str | None = None) -> None:
        self.template = None if template is None else TextTemplate(template)

    def from_columns(self, cells: Mapping[str, Any]) -> tuple[str, ...]:
        """The text of an item; none where all of its columns are empty."""
        fields = {column: _as_string(value, column) for column, value in cells.items()}
        if self.template is None:
            text = join_fields(list(fields.values()))
        else:
            text = self.template.fill(fields)
        return () if text is None else (text,)

    def decode(self, raw: str) -> str:
        """The text as it is: what is too long is for the encoder to say."""
        return raw


def join_fields(fields: Sequence[str | None]) -> str | None:
    """Join the cleaned fields of an item by ``TEXT_SEPARATOR``, empty ones skipped.

    Returns:
        None where all fields are empty.
    """
    cleaned = (clean_text(field) for field in fields if field)
    return TEXT_SEPARATOR.join(field for field in cleaned if field) or None


class TextTemplate:
    """Puts the fields of an item into a text such as ``{title}. {description}``.

    What stands between braces is the name of a column and nothing else; ``{{`` and ``}}`` are
    plain braces.

    Args:
        template: The template.

    Raises:
        FeatureError: A brace is open, or the template names no column.
    """

    def __init__(self, template: str) -> None:
        self._parts: list[tuple[str, str]] = []  # text, and the column behind it
        text, start = "", 0
        for match in _FIELD.finditer(template):
            text += template[start : match.start()]
            start = match.end()
            if match[0] in ("{{", "}}"):
                text += match[0][0]
            elif match[1]:
                self._parts.append((text, match[1]))
                text = ""
            else:
                _refuse(template, f"holds {match[0]!r}")
        self._end = text + template[start:]
        if not self._parts:
            _refuse(template, "names no column")

    @property
    def columns(self) -> list[str]:
        """The columns that the template names, each once."""
        return list(dict.fromkeys(column for _, column in self._parts))

    def fill(self, fields: Mapping[str, str | None]) -> str | None:
        """Return the text of one item; None where all of its fields are empty."""
        values = {column: clean_text(fields[column] or "") for column in self.columns}
        if not any(values.values()):
            return None
        text = "".join(before + values[column] for before, column in self._parts) + self._end
        return " ".join(text.split())


def is_unicode(text: str) -> bool:
    """Whether a string is valid Unicode: half of a surrogate pair is not, and breaks tokenizers."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_string(value: Any, column: str) -> str | None:
    if isinstance(value, int | float | Decimal | date):
        return str(value)
    if not isinstance(value, str | None):
        raise InputError(f"column {column!r} holds a {type(value).__name__}")
    if not is_unicode(value or ""):
        raise InputError(f"{value!r} holds half of a surrogate pair")
    return value


class _TextOnly(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._silent += tag in _SILENT
        self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in _SILENT))
        self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)


def _refuse(template: str, found: str) -> None:
    raise FeatureError(
        f"the text template {template!r} {found}",
        expected="column names between braces, such as '{title}. {description}'",
        fix="write a plain brace as {{ or }}",
    )
