"""Clean texts of tables: HTML out, Unicode normalised, fields put into a template."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser

from feature_extraction.errors import FeatureError

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


def joined(fields: Sequence[str | None]) -> str | None:
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
