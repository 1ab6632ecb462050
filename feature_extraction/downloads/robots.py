"""What the source of files allows: its robots.txt, read once for each site."""

import threading
import time
from dataclasses import dataclass, field
from urllib.robotparser import RobotFileParser

from feature_extraction.downloads.addresses import Address
from feature_extraction.downloads.fetching import LONGEST_WAIT, Fetcher, StatusError
from feature_extraction.errors import InputError

_MOST_BYTES = 500 << 10  # RFC 9309: a parser reads at least so much

_NOTHING = ("User-agent: *", "Disallow: /")


@dataclass
class _Site:
    """The rules of one site, and when it may be asked next."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    rules: RobotFileParser | None = None
    said: str = ""
    next_time: float = 0.0


class Robots:
    """Keeps to the robots.txt of every site, and to the delay that it asks for.

    As RFC 9309 has it: a site without such a file (4xx) allows everything; one that cannot be
    asked allows nothing.

    Args:
        fetcher: Fetches them.
        ignored: Whether their rules do not count, where the source allows it otherwise.
    """

    def __init__(self, fetcher: Fetcher, *, ignored: bool = False) -> None:
        self._fetcher = fetcher
        self._ignored = ignored
        self._sites: dict[str, _Site] = {}
        self._lock = threading.Lock()

    def before(self, url: str, address: Address) -> None:
        """Wait for the turn of a request.

        Raises:
            InputError: The site disallows it, or the fetcher was stopped.
        """
        if self._ignored:
            return
        with self._lock:
            site = self._sites.setdefault(address.site, _Site())
        with site.lock:
            if site.rules is None:
                site.rules, site.said = self._read(address.site)
            agent = self._fetcher.user_agent
            if not site.rules.can_fetch(agent, url):
                raise InputError(f"robots.txt of {address.site} disallows it")
            delay = float(site.rules.crawl_delay(agent) or 0)
            if delay > LONGEST_WAIT:
                raise InputError(
                    f"robots.txt of {address.site} asks for {delay:g} s between requests, "
                    f"more than {LONGEST_WAIT:g} s"
                )
            wait = site.next_time - time.monotonic()
            site.next_time = max(time.monotonic(), site.next_time) + delay
        if delay and wait > 0:
            self._fetcher.pause(wait)

    @property
    def said(self) -> dict[str, str]:
        """What each site's robots.txt says, in words."""
        return {name: site.said for name, site in sorted(self._sites.items())}

    def _read(self, site: str) -> tuple[RobotFileParser, str]:
        rules = RobotFileParser()
        try:
            content = self._fetcher.fetch(f"{site}/robots.txt").content
        except StatusError as error:
            if 400 <= error.status < 500 and error.status != 429:
                rules.parse([])
                return rules, f"no robots.txt ({error.status}): everything is allowed"
            rules.parse(_NOTHING)
            return rules, f"robots.txt cannot be had ({error}): nothing is allowed"
        except InputError as error:
            rules.parse(_NOTHING)
            return rules, f"robots.txt cannot be had ({error}): nothing is allowed"
        rules.parse(content[:_MOST_BYTES].decode("utf-8", "replace").splitlines())
        delay = rules.crawl_delay(self._fetcher.user_agent)
        return rules, "robots.txt is kept to" + (f", with a delay of {delay} s" if delay else "")
