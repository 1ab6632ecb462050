import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import StorageError
from slifmr_pl.report.html.figures import Bar, bars, curves, histograms, scatter
from slifmr_pl.report.html.html import Html, element, table
from slifmr_pl.report.html.item_cards import ItemCards, thumbnail
from slifmr_pl.report.html.page import Section, page, write_page

EVIL = '"><script>alert(1)</script>&amp;'


class Elements(HTMLParser):
    """Tags and attributes of a page, as a browser reads them."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def test_only_markup_of_our_own_is_markup() -> None:
    made = element("p", EVIL, element("b", "bold"), title=EVIL)
    elements = Elements(made)
    assert [tag for tag, _ in elements.tags] == ["p", "b"]
    assert elements.of("p") == [{"title": EVIL}]
    assert isinstance(made, Html)


def test_what_the_data_hold_stays_text_everywhere() -> None:
    values = np.linspace(0, 1, 5)
    content = [
        table(EVIL, (EVIL, "n"), [(EVIL, EVIL)]),
        curves({EVIL: ([1, 2], [3, 4]), "b": ([1], [2])}, EVIL, EVIL, x=EVIL, y=EVIL, log=True),
        bars([Bar(EVIL, 1, 0.5, 2)], EVIL, EVIL, x=EVIL),
        histograms({EVIL: values, "b": values}, EVIL, EVIL, x=EVIL, edges=values),
        scatter(np.eye(2), {EVIL: np.array([True, False])}, EVIL, EVIL, within=1),
    ]
    document = page(EVIL, EVIL, [Section(EVIL, part) for part in content])
    elements = Elements(document)
    assert len(elements.of("script")) == 1
    assert "alert(1)" not in document[document.index("<script>") :]
    assert {svg["aria-label"] for svg in elements.of("svg")} == {EVIL}
    assert len(elements.of("caption")) == 1


def test_page_fetches_nothing_and_links_lead_somewhere() -> None:
    figure = curves({"a": ([1, 2], [3, 4])}, "caption", "falls", x="epoch", at=1.5)
    document = page("Title", "lead", [Section("One", figure), Section("Two", figure)])
    elements = Elements(document)
    ids = {attributes["id"] for _, attributes in elements.tags if "id" in attributes}
    for link in elements.of("a"):
        assert (link["href"] or "").removeprefix("#") in ids
    addresses = [
        value or ""
        for _, attributes in elements.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href")
    ]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "default-src 'none'" in document
    assert not re.search(r"url\((?!#)", document)


def test_figures_take_the_colour_of_the_page_and_keep_their_text() -> None:
    figure = curves({"a": ([1, 2], [3, 4])}, "caption", "falls", x="epoch")
    assert "currentColor" in figure
    assert "#010203" not in figure
    assert ">epoch</text>" in figure
    assert not re.search(r"<svg[^>]* (width|height)=", figure)


@pytest.mark.filterwarnings("error")
def test_long_names_and_foreign_scripts_leave_room() -> None:
    names = ["很" * 200, "x" * 200]
    figure = bars([Bar(name, 1) for name in names], "caption", "alt", x="share")
    assert f"{'很' * 27}…" in figure
    assert names[0] not in figure


def test_same_data_make_the_same_page() -> None:
    one, two = (bars([Bar("a", 1), Bar("b", 2, 1, 3)], "c", "alt", x="share") for _ in range(2))
    assert one == two


def test_thumbnail_is_small_whatever_the_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    uri = thumbnail(tmp_path / "noise.png")
    assert uri.startswith("data:image/jpeg;base64,")
    assert len(uri) < 20_000


def test_cards_show_pictures_or_say_why_not(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    (tmp_path / "c.png").write_bytes(b"no picture")
    table = pa.table(
        {
            "item_id": ["a", "b", "c", "d"],
            "Title": [EVIL, "", "C", "D"],
            "cover": ["a.png", "", "c.png", "../d.png"],
        }
    )
    cards = ItemCards(Vocabulary(["a", "b", "c", "d"]), table, tmp_path)
    assert (cards.title_column, cards.picture_column) == ("Title", "cover")
    first = Elements(cards.card(0, tag="3 times"))
    assert first.of("img")[0]["alt"] == f"Picture of {EVIL}"
    assert not first.of("script")
    for item, reason in ((1, "no picture"), (2, "not an image"), (3, "outside")):
        assert reason in cards.card(item)
    assert cards.title(1) == "b"
    bare = ItemCards(Vocabulary(["a"]), None, tmp_path)
    assert "no pictures" in bare.card(0)


def test_page_is_whole_or_absent(tmp_path: Path) -> None:
    write_page(tmp_path / "deep" / "page.html", Html("<p>ä \udc80</p>"))
    assert (tmp_path / "deep" / "page.html").read_text("utf-8") == "<p>ä ?</p>"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["page.html"]
    with pytest.raises(StorageError):
        write_page(tmp_path / "deep" / "page.html" / "below.html", Html(""))
