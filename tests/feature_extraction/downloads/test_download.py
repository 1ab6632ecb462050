import csv
from pathlib import Path
from typing import Any

import pytest

from feature_extraction import InputError, TableError
from feature_extraction.cli import main
from feature_extraction.downloads import addresses
from feature_extraction.downloads.download import Summary, download
from feature_extraction.downloads.download_report import REPORT
from feature_extraction.downloads.fetching import Fetcher
from feature_extraction.items.item_table import ItemTable
from tests.feature_extraction.downloads.conftest import Server, picture


def table(folder: Path, **urls: str) -> Path:
    path = folder / "items.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("item_id", "url"), *urls.items()])
    return path


def run(items: Path, folder: Path, **options: Any) -> Summary:
    fetcher = Fetcher(allow_private=True, first_wait=0, attempts=2, max_seconds=5)
    named = {"id_column": "item_id", "url_column": "url"}
    return download(items, folder, fetcher, **named | options)


def report_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / REPORT).open(newline="") as file:
        return {row["item_id"]: row for row in csv.DictReader(file)}


def test_files_are_called_by_item_and_content_and_the_report_says_the_rest(
    server: Server, tmp_path: Path
) -> None:
    url = server.url
    items = table(
        tmp_path,
        a=f"{url}/good/1.png",  # a JPEG file, whatever it is called
        b=f"{url}/modest",
        c=f"{url}/page",
        d=f"{url}/circle/a",
        e=f"{url}/dying",
        f=f"{url}/gone",
        g="",
        **{"../h": f"{url}/good/2", "ü": f"{url}/good/3"},
    )
    summary = run(items, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"a.jpg", "b.png", "%2E%2E%2Fh.jpg", "ü.jpg", REPORT}
    assert (tmp_path / "out" / "a.jpg").read_bytes() == picture()
    assert (summary.fetched, summary.kept, summary.without) == (4, 0, 1)
    assert [failure.item_id for failure in summary.failures] == ["c", "d", "e", "f"]
    report = report_of(tmp_path / "out")
    assert list(report) == ["a", "b", "c", "d", "e", "f", "../h", "ü"]
    assert report["c"]["reason"] == "a web page, declared as image/png"
    assert "no robots.txt (404): everything is allowed" in str(summary)
    # The report is a table of items for extraction.
    whole = ItemTable(
        tmp_path / "out" / REPORT,
        id_column="item_id",
        image_columns=["file"],
        images=[tmp_path / "out"],
    )
    assert {item.id: item.pictures for item in whole}["../h"] == ("%2E%2E%2Fh.jpg",)


def test_next_run_keeps_what_is_there_and_tries_the_rest_again(
    server: Server, tmp_path: Path
) -> None:
    urls = {"a": f"{server.url}/good/1", "b": f"{server.url}/busy", "c": f"{server.url}/good/3"}
    first = run(table(tmp_path, **urls), tmp_path)
    assert [failure.item_id for failure in first.failures] == ["b"]
    (tmp_path / "c.jpg").unlink()
    second = run(table(tmp_path, **urls), tmp_path)
    assert (second.fetched, second.kept, second.failures) == (2, 1, [])
    assert server.asked["/good/1"] == 1
    third = run(table(tmp_path, **urls | {"a": f"{server.url}/good/4"}), tmp_path)
    assert (third.fetched, third.kept) == (1, 2)  # another address is another file
    assert list(report_of(tmp_path)) == ["a", "b", "c"]


def test_run_that_was_cut_off_goes_on(server: Server, tmp_path: Path) -> None:
    whole = table(tmp_path, **{f"i{n}": f"{server.url}/good/{n}" for n in range(6)})
    run(whole, tmp_path)
    report = tmp_path / REPORT
    report.write_bytes(report.read_bytes()[:-20])  # as if killed while the last row was written
    (tmp_path / "i5.jpg.part").write_bytes(b"half")
    again = run(whole, tmp_path)
    assert again.fetched == 1
    assert again.kept == 5
    assert len(report_of(tmp_path)) == 6
    assert not list(tmp_path.glob("*.part"))


def test_run_that_is_interrupted_waits_for_no_server(server: Server, tmp_path: Path) -> None:
    """One file is there, and the server of the other asks to come back later: nobody does."""
    items = table(tmp_path, a=f"{server.url}/good/1", b=f"{server.url}/waiting")
    fetcher = Fetcher(allow_private=True)

    def interrupt() -> None:
        raise KeyboardInterrupt

    named = {"id_column": "item_id", "url_column": "url"}
    with pytest.raises(KeyboardInterrupt):
        download(items, tmp_path, fetcher, **named, advance=interrupt)
    with pytest.raises(InputError, match="stopped"):  # where it would wait
        fetcher.fetch(f"{server.url}/waiting")
    assert (tmp_path / "a.jpg").is_file()


def test_sources_are_asked_as_their_robots_txt_allows(server: Server, tmp_path: Path) -> None:
    server.robots = "User-agent: *\nDisallow: /good/secret\nCrawl-delay: 0\n"
    items = table(tmp_path, a=f"{server.url}/good/1", b=f"{server.url}/good/secret/1")
    summary = run(items, tmp_path)
    assert [failure.item_id for failure in summary.failures] == ["b"]
    assert "disallows it" in summary.failures[0].reason
    assert server.asked["/robots.txt"] == 1
    assert server.asked["/good/secret/1"] == 0
    assert f"{server.url}: robots.txt is kept to" in str(summary)
    assert run(items, tmp_path, ignore_robots=True).failures == []


@pytest.mark.parametrize("status", [500, 429])
def test_source_that_cannot_say_what_it_allows_is_not_asked(
    server: Server, tmp_path: Path, status: int
) -> None:
    server.robots = status
    summary = run(table(tmp_path, a=f"{server.url}/good/1"), tmp_path)
    assert "disallows it" in summary.failures[0].reason
    assert "nothing is allowed" in str(summary)
    assert server.asked["/good/1"] == 0


def test_requests_to_a_site_keep_the_delay_that_it_asks_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.robots = "User-agent: *\nCrawl-delay: 7\n"
    waits: list[float] = []
    monkeypatch.setattr(Fetcher, "pause", lambda _, seconds: waits.append(seconds))
    run(table(tmp_path, **{name: f"{server.url}/good/{name}" for name in "abc"}), tmp_path)
    assert sorted(round(wait / 7) for wait in waits) == [1, 2]


def test_a_delay_that_would_stall_the_run_is_said_instead(server: Server, tmp_path: Path) -> None:
    server.robots = "User-agent: *\nCrawl-delay: 86400\n"
    (failure,) = run(table(tmp_path, a=f"{server.url}/good/1"), tmp_path).failures
    assert "asks for 86400 s between requests, more than 60 s" in failure.reason
    assert server.asked["/good/1"] == 0


def test_repeated_items_are_refused_with_their_row(tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("item_id,url\na,\na,\n")
    with pytest.raises(TableError, match=r"row 3.*repeated"):
        run(items, tmp_path)


def test_download_is_a_command(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    items = table(tmp_path, a=f"{server.url}/good/1", b=f"{server.url}/gone")
    arguments = ["download", "--urls", str(items), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2  # this machine is a private one
    printed = capsys.readouterr()
    assert "--allow-private" in printed.out
    assert "no file was fetched" in printed.err
    monkeypatch.setattr(addresses, "_is_public", lambda ip: True)
    assert main(arguments) == 0
    assert "1 files fetched, 0 there already" in capsys.readouterr().out
    assert main([*arguments, "--concurrency", "0"]) == 2
    assert "--concurrency" in capsys.readouterr().err
