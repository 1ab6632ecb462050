"""Files of all items of a table, by their addresses, into a folder that extraction reads."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from feature_extraction.downloads.content import Kind, suffix_of
from feature_extraction.downloads.download_report import (
    REPORT,
    Journal,
    Outcome,
    appended,
    reported_files,
    write_report,
)
from feature_extraction.downloads.fetching import Fetcher
from feature_extraction.downloads.robots import Robots
from feature_extraction.errors import FeatureError, InputError, TableError
from feature_extraction.extras import extra_library
from feature_extraction.tables.rows import stream_rows

_SAFE_NAME = re.compile(r"[\w-][\w.-]{0,150}")
_WAITING = 4  # rows of the table that wait for each thread


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Args:
        fetched: Files that were fetched now.
        kept: Files that were there already.
        without: Items without an address.
        failures: Outcomes with a reason.
        sites: What each site's robots.txt says.
    """

    fetched: int
    kept: int
    without: int
    failures: list[Outcome]
    sites: dict[str, str]

    def __str__(self) -> str:
        counts = (
            f"{self.fetched:,} files fetched, {self.kept:,} there already, "
            f"{self.without:,} items without an address, {len(self.failures):,} failed"
        )
        reasons = Counter(failure.reason for failure in self.failures)
        lines = [counts]
        lines += [f"  {count:,} {reason}" for reason, count in reasons.most_common(10)]
        lines += [f"{site}: {said}" for site, said in self.sites.items()]
        return "\n".join(lines)


def download(
    table: Path,
    folder: Path,
    fetcher: Fetcher,
    *,
    id_column: str,
    url_column: str,
    kind: Kind = "image",
    concurrency: int = 8,
    ignore_robots: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> Summary:
    """Fetch the files of all items, ``<item id><suffix>``, the suffix by their content.

    Whatever ends a run, the next one keeps the files that are there: a file gets its name once it
    is whole. ``downloads.csv`` in the folder says what became of every address, and grows
    meanwhile.

    Args:
        table: Table with a row per item.
        folder: Where files go; made if needed.
        fetcher: How they are fetched.
        id_column: Column of item ids.
        url_column: Column of addresses; empty ones are left out.
        kind: What the files have to be.
        concurrency: Files that are fetched at once.
        ignore_robots: Whether robots.txt of the sources does not count.
        advance: Called for each item that is done.

    Raises:
        FeatureError: The folder cannot be written, or soundfile is needed and not there.
        TableError: The table cannot be read, or an id is empty or repeated.
    """
    if kind == "audio":
        extra_library("soundfile", "audio", "telling what a sound file is")
    robots = Robots(fetcher, ignored=ignore_robots)
    rows = _addresses(table, id_column, url_column)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        run = _Run(folder, fetcher, robots, kind)
        for outcome in run.outcomes(rows, concurrency):
            run.count(outcome)
            advance()
        write_report(folder / REPORT, run.ordered())
    except OSError as error:
        raise FeatureError(
            f"the folder cannot be written ({error})",
            expected="a folder with enough space that this user may write to",
            fix="free space or choose another folder",
            path=folder,
        ) from error
    return Summary(run.fetched, run.kept, run.without, run.failures, robots.said)


class _Run:
    """One pass over a table of addresses."""

    def __init__(self, folder: Path, fetcher: Fetcher, robots: Robots, kind: Kind) -> None:
        self._folder, self._fetcher, self._robots, self._kind = folder, fetcher, robots, kind
        self._before = reported_files(folder / REPORT)
        self._found: dict[str, Outcome | None] = {}  # by item, in the order of the table
        self.fetched = self.kept = self.without = 0

    @property
    def failures(self) -> list[Outcome]:
        """What has a reason."""
        return [outcome for outcome in self.ordered() if outcome.reason]

    def ordered(self) -> list[Outcome]:
        """All outcomes in the order of the table."""
        return [outcome for outcome in self._found.values() if outcome is not None]

    def count(self, outcome: Outcome) -> None:
        """Take note of an outcome."""
        if not outcome.url:
            self.without += 1
            return
        kept = outcome is self._before.get(outcome.item_id)
        self.kept += kept
        self.fetched += bool(outcome.file) and not kept
        self._found[outcome.item_id] = outcome

    def outcomes(self, rows: Iterable[tuple[str, str]], concurrency: int) -> Iterator[Outcome]:
        """Fetch what is not there, in no order; an item without an address has no file either."""
        running: set[Future[Outcome]] = set()
        with appended(self._folder / REPORT) as journal, ThreadPoolExecutor(concurrency) as pool:
            try:
                for item, url in rows:
                    self._found[item] = None  # keeps its place
                    known = self._before.get(item)
                    if known and known.url == url and (self._folder / known.file).is_file():
                        yield known
                    elif not url:
                        yield Outcome(item, "", "", 0, "")
                    else:
                        running.add(pool.submit(self._one, item, url))
                    if len(running) >= _WAITING * concurrency:
                        done, running = wait(running, return_when=FIRST_COMPLETED)
                        yield from _written(journal, done)
                yield from _written(journal, as_completed(running))
            except BaseException:  # an interrupted run ends without what others wait for
                self._fetcher.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _one(self, item: str, url: str) -> Outcome:
        try:
            fetched = self._fetcher.fetch(url, self._robots.before)
            name = file_name(item, suffix_of(fetched.content, self._kind, fetched.declared))
        except InputError as error:
            return Outcome(item, url, "", 0, str(error))
        part = self._folder / f"{name}.part"
        part.write_bytes(fetched.content)
        part.replace(self._folder / name)
        return Outcome(item, url, name, len(fetched.content), "")


def _written(journal: Journal, done: Iterable["Future[Outcome]"]) -> Iterator[Outcome]:
    for future in done:
        journal.writerow(future.result())
        yield future.result()


def file_name(item: str, suffix: str) -> str:
    """Return a file name for an item: its id where that is one, or else the id in percent signs."""
    name = item if _SAFE_NAME.fullmatch(item) else quote(item, safe="").replace(".", "%2E")
    if len(name) > 200:
        raise InputError("an item id that is too long for a file name")
    return f"{name}{suffix}"


def _addresses(table: Path, id_column: str, url_column: str) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for row, (item, url) in stream_rows(table, [id_column, url_column]):
        item_id = "" if item is None else str(item)
        if not item_id or item_id in seen:
            raise TableError(
                f"the item id {item_id!r} is repeated" if item_id else "the item id is empty",
                expected=f"distinct, non-empty ids in column {id_column!r}",
                fix="remove or rename the row",
                path=table,
                row=row,
            )
        seen.add(item_id)
        yield item_id, str(url or "").strip()
