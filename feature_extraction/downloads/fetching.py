"""Fetch one file: redirects, size and time are bounded, what may pass is tried again."""

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from feature_extraction.downloads.addresses import Address, checked_address
from feature_extraction.downloads.content import looks_like_a_page
from feature_extraction.errors import InputError

USER_AGENT = "slifmr-pl feature_extraction download"

_REDIRECTS = (301, 302, 303, 307, 308)
_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)
_KEPT = 16  # connections to one machine
_READ = 1 << 16  # bytes at once
LONGEST_WAIT = 60.0  # seconds that a server may ask to wait
_HOPELESS = 20  # failures in a row after which a site is asked no more
_RANDOM = random.SystemRandom()  # leaves the caller's random state alone


class Fetched(NamedTuple):
    """A file, and what its server says that it is."""

    content: bytes
    declared: str


class StatusError(InputError):
    """A server answered, and not with the file."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the server answers {status} {http.client.responses.get(status, '')}")
        self.status = status


class _MayPassError(Exception):
    """What may be otherwise a little later; says how long the server asks to wait."""

    def __init__(self, reason: str, wait: float = 0.0, status: int | None = None) -> None:
        super().__init__(reason)
        self.wait = wait
        self.status = status


@dataclass
class Fetcher:
    """Fetches files, from several threads at once.

    Args:
        max_bytes: Largest file.
        max_seconds: Longest time for a file, its redirects included.
        timeout: Seconds to wait for a connection, or for the next bytes.
        attempts: How often a file is asked for.
        first_wait: Seconds before the second attempt; each further wait is twice as long, and
            some of it is drawn at random, so that not all come back at once.
        max_redirects: Redirects that are followed.
        allow_private: Whether machines of this network may be asked.
        user_agent: What it says of itself.
    """

    max_bytes: int = 20 << 20
    max_seconds: float = 60.0
    timeout: float = 10.0
    attempts: int = 4
    first_wait: float = 1.0
    max_redirects: int = 5
    allow_private: bool = False
    user_agent: str = USER_AGENT
    _pools: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    _in_a_row: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def fetch(self, url: str, before: Callable[[str, Address], None] | None = None) -> Fetched:
        """Fetch a file.

        Args:
            url: Its address.
            before: Called before each request with the address as text and as checked; it may
                wait, or raise InputError.

        Raises:
            StatusError: The server has no such file, or does not give it.
            InputError: It cannot be had; the message is the reason.
        """
        site = urlsplit(url).netloc
        if self._in_a_row[site] >= _HOPELESS:
            raise InputError(f"{site} failed {_HOPELESS} times in a row, and is asked no more now")
        wait = self.first_wait
        for attempt in range(1, self.attempts + 1):
            try:
                fetched = self._once(url, before or (lambda url, address: None))
                self._in_a_row[site] = 0
                return fetched
            except _MayPassError as error:
                if attempt == self.attempts or error.wait > LONGEST_WAIT:
                    self._in_a_row[site] += 1
                    if error.status is not None:
                        raise StatusError(error.status) from error
                    raise InputError(f"{error} ({attempt} attempts)") from error
                self.pause(max(error.wait, wait * _RANDOM.uniform(0.5, 1.0)))
                wait *= 2
        raise AssertionError("there is at least one attempt")

    def pause(self, seconds: float) -> None:
        """Wait, until ``stop`` at most.

        Raises:
            InputError: It was stopped.
        """
        if self._stopped.wait(seconds):
            raise InputError("stopped")

    def stop(self) -> None:
        """End all waiting of all threads, now and from now on."""
        self._stopped.set()

    def _once(self, url: str, before: Callable[[str, Address], None]) -> Fetched:
        seen: list[str] = []
        deadline = time.monotonic() + self.max_seconds
        while True:
            if url in seen:
                raise InputError("redirects in a circle")
            if len(seen) > self.max_redirects:
                raise InputError(f"more than {self.max_redirects} redirects")
            seen.append(url)
            address = self._checked(url)
            started = time.monotonic()
            before(url, address)
            deadline += time.monotonic() - started  # waiting for its turn is not its fault
            with closing(self._answer(address)) as answer:
                if answer.status in _REDIRECTS and answer.headers.get("Location"):
                    url = urljoin(url, answer.headers["Location"])
                    continue
                if answer.status in _MAY_PASS:
                    raise _MayPassError(
                        f"the server answers {answer.status}", _asked(answer), answer.status
                    )
                if answer.status != 200:
                    raise StatusError(answer.status)
                return Fetched(self._body(answer, deadline), _declared(answer))

    def _checked(self, url: str) -> Address:
        try:
            return checked_address(url, allow_private=self.allow_private)
        except OSError as error:
            raise _MayPassError("the host name is not known") from error

    def _answer(self, address: Address) -> Any:
        headers = {
            "Host": address.named_host,
            "User-Agent": self.user_agent,
            "Accept-Encoding": "identity",
        }
        try:
            return self._pool(address).urlopen(
                "GET",
                address.path,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, OSError, http.client.HTTPException) as error:
            raise _MayPassError(f"no answer ({type(error).__name__})") from error

    def _body(self, answer: Any, deadline: float) -> bytes:
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise InputError("packed by the server, which was asked not to")
        declared = answer.headers.get("Content-Length", "")
        if declared.isdigit() and int(declared) > self.max_bytes:
            raise InputError(f"more than {self.max_bytes:,} bytes")
        content = bytearray()
        while True:
            try:
                part = answer.read1(_READ)
            except (HTTPError, OSError, http.client.HTTPException) as error:
                raise _MayPassError(
                    f"broke off after {len(content):,} bytes ({type(error).__name__})"
                ) from error
            content += part
            if len(content) > self.max_bytes:
                raise InputError(f"more than {self.max_bytes:,} bytes")
            if time.monotonic() > deadline:
                raise InputError(f"took more than {self.max_seconds:g} seconds")
            if not part:
                break
            if looks_like_a_page(bytes(content[:512])) and len(content) > 512:
                break  # what it is, is said where all of it would be looked at
        if declared.isdigit() and len(content) < int(declared) and not _is_page(content):
            raise _MayPassError(f"broke off after {len(content):,} of {declared} bytes")
        return bytes(content)

    def _pool(self, address: Address) -> Any:
        """Connections to one machine, which are kept open."""
        key = address[:4]
        with self._lock:
            if key not in self._pools:
                pool: urllib3.HTTPConnectionPool
                if address.scheme == "https":  # for the name, not for the machine
                    pool = urllib3.HTTPSConnectionPool(
                        address.ip,
                        address.port,
                        timeout=self.timeout,
                        maxsize=_KEPT,
                        cert_reqs="CERT_REQUIRED",
                        server_hostname=address.host,
                        assert_hostname=address.host,
                    )
                else:
                    pool = urllib3.HTTPConnectionPool(
                        address.ip, address.port, timeout=self.timeout, maxsize=_KEPT
                    )
                self._pools[key] = pool
            return self._pools[key]


def _is_page(content: bytearray) -> bool:
    return looks_like_a_page(bytes(content[:512]))


def _asked(answer: Any) -> float:
    """Seconds that the server asks to wait, where it says a number."""
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0


def _declared(answer: Any) -> str:
    return str(answer.headers.get("Content-Type", "")).partition(";")[0].strip()
