"""Which addresses may be fetched, and the machine that is then asked: the one that was checked."""

import ipaddress
import socket
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from feature_extraction.errors import InputError

_PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """A checked address.

    Args:
        scheme: ``http`` or ``https``.
        host: As the address names it, in ASCII.
        port: The port.
        ip: The machine that the host was resolved to.
        path: Path and query.
    """

    scheme: str
    host: str
    port: int
    ip: str
    path: str

    @property
    def site(self) -> str:
        """Scheme, host and port, which a ``robots.txt`` is of."""
        return f"{self.scheme}://{self.named_host}"

    @property
    def named_host(self) -> str:
        """What the header ``Host`` says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def checked_address(url: str, *, allow_private: bool) -> Address:
    """Resolve an address, and refuse what is no public place on the web.

    The machine that is found here is the one to connect to: asked again, a name server could name
    another one.

    Args:
        url: The address.
        allow_private: Whether machines of this network may be asked, and this one itself.

    Raises:
        InputError: It is malformed, of another scheme, has a password, or is of no public machine.
        OSError: The name cannot be resolved (now).
    """
    parts, port = _split(url)
    try:
        host = (parts.hostname or "").encode("idna").decode() if parts.hostname else ""
    except UnicodeError as error:
        raise InputError(f"{parts.hostname!r} is no host name") from error
    if parts.scheme not in _PORTS or not host:
        raise InputError(f"an address beginning {url[:20]!r}: http:// or https:// is expected")
    if parts.username is not None or parts.password is not None:
        raise InputError("an address with a user name or password")
    port = port or _PORTS[parts.scheme]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    machines = [str(entry[4][0]) for entry in found]
    if not allow_private and not all(_is_public(machine) for machine in machines):
        raise InputError(f"{host} is a private address (--allow-private lets it through)")
    query = f"?{parts.query}" if parts.query else ""
    path = _quoted(f"{parts.path or '/'}{query}")
    return Address(parts.scheme, host, port, machines[0], path)


def _split(url: str) -> tuple[SplitResult, int | None]:
    if any(character.isspace() or not character.isprintable() for character in url):
        raise InputError("an address with spaces or control characters")
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError as error:
        raise InputError(f"no address ({error})") from error


def _is_public(machine: str) -> bool:
    ip = ipaddress.ip_address(machine.partition("%")[0])
    inside = getattr(ip, "ipv4_mapped", None)
    ip = inside if inside is not None else ip
    return ip.is_global and not ip.is_multicast


def _quoted(path: str) -> str:
    """Letters beyond ASCII as bytes in percent signs; the rest as it is."""
    return "".join(
        one if one.isascii() else "".join(f"%{byte:02X}" for byte in one.encode()) for one in path
    )
