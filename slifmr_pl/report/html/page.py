"""The page around the content: head, table of contents, sections."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from slifmr_pl.errors import StorageError
from slifmr_pl.report.html.html import Html, concatenated, element


@dataclass(frozen=True)
class Section:
    """A chapter of a page.

    Attributes:
        title: Its heading.
        content: What stands below.
    """

    title: str
    content: Html


def page(title: str, lead: str, sections: Sequence[Section]) -> Html:
    """A whole document that needs no other file and fetches nothing.

    Its content policy lets a browser run the one script of this package and nothing else, whatever
    the data hold.

    Args:
        title: Of the document.
        lead: What it is about, in a sentence.
        sections: With different titles.
    """
    style, script = (
        files("slifmr_pl.report.html").joinpath(name).read_text("utf-8")
        for name in ("page.css", "page.js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        element("title", title),
        element("style", Html(style)),
    )
    links = [
        element("li", element("a", section.title, href=f"#s{number}"))
        for number, section in enumerate(sections)
    ]
    chapters = [
        element("section", element("h2", section.title, id=f"s{number}"), section.content)
        for number, section in enumerate(sections)
    ]
    body = element(
        "body",
        element("header", element("h1", title), element("p", lead, class_="lead")),
        element("nav", element("ul", *links), aria_label="Contents"),
        element("main", *chapters),
        element("script", Html(script)),
    )
    return concatenated(
        [Html("<!doctype html>\n"), element("html", head, body, lang="en"), Html("\n")]
    )


def write_page(path: Path, document: Html) -> None:
    """Writes a page; it takes its name when it is whole.

    Raises:
        StorageError: If it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A lone surrogate, which no file can hold, may come from a file name.
        partial.write_text(document, encoding="utf-8", errors="replace")
        partial.replace(path)
    except OSError as error:
        raise StorageError.of(error, path) from error
