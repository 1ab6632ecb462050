"""HTML in which only what this package wrote is markup; every other string is escaped."""

import html
from collections.abc import Iterable, Sequence

_VOID = ("img", "input", "br")


class Html(str):
    """Markup. Functions of this room escape every string that is not of this type."""

    __slots__ = ()


def element(tag: str, *content: str, **attributes: str | int | float) -> Html:
    """One element.

    Args:
        tag: Its name.
        content: What stands in it; strings that are no `Html` are escaped.
        attributes: By name; `class_` is `class`, `data_text` is `data-text`. Values are escaped.
    """
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for name, value in attributes.items()
    )
    if tag in _VOID:
        return Html(f"<{tag}{named}>")
    return Html(f"<{tag}{named}>{concatenated(content)}</{tag}>")


def concatenated(parts: Iterable[str]) -> Html:
    """Several pieces one after the other."""
    return Html("".join(part if isinstance(part, Html) else html.escape(part) for part in parts))


def paragraph(*content: str) -> Html:
    """A paragraph of text."""
    return element("p", *content)


def note(*content: str) -> Html:
    """A prominent remark about what could not be shown, and why."""
    return element("p", *content, class_="missing")


def count_notes(page: Html) -> int:
    """How many `note`s a page has."""
    return page.count('<p class="missing">')


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True
) -> Html:
    """A table with a caption, whose first column names the rows.

    Args:
        caption: What it shows.
        header: Names of the columns.
        rows: Cells.
        numbers: Whether all columns but the first hold numbers, and are aligned to the right.
    """
    head = element("tr", *(element("th", name, scope="col") for name in header))
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell) for cell in row[1:]),
        )
        for row in rows
    ]
    content = element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", *body),
        class_="numbers" if numbers else "words",
    )
    # A table too wide for a phone scrolls inside its own box; by keyboard too.
    return element("div", content, class_="wide", tabindex=0, role="region", aria_label=caption)


def details(summary: str, *content: str) -> Html:
    """Content that is shown on a click, and in print."""
    return element("details", element("summary", summary), *content)


def code(text: str) -> Html:
    """Commands or settings, as they are."""
    return element("pre", element("code", text), tabindex=0)
