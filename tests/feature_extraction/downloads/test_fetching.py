import pytest

from feature_extraction import InputError
from feature_extraction.downloads import addresses
from feature_extraction.downloads.addresses import checked_address
from feature_extraction.downloads.fetching import Fetcher, StatusError
from tests.feature_extraction.downloads.conftest import Server, picture


def local(**options: object) -> Fetcher:
    return Fetcher(**{"allow_private": True, "first_wait": 0.0} | options)  # type: ignore[arg-type]


def test_file_comes_whole_with_what_the_server_says_of_it(server: Server) -> None:
    fetched = local().fetch(f"{server.url}/good/1")
    assert fetched == (picture(), "image/jpeg")
    assert server.agents == {"slifmr-pl feature_extraction download"}


def test_redirects_are_followed_and_bounded(server: Server) -> None:
    assert local().fetch(f"{server.url}/moved/4").content == picture()
    with pytest.raises(InputError, match="more than 5 redirects"):
        local().fetch(f"{server.url}/moved/5")
    with pytest.raises(InputError, match="in a circle"):
        local().fetch(f"{server.url}/circle/a")
    assert server.asked["/circle/a"] == 1


def test_what_may_pass_is_tried_again_and_what_may_not_is_not(server: Server) -> None:
    assert local().fetch(f"{server.url}/busy").content == picture()
    assert server.asked["/busy"] == 3
    with pytest.raises(StatusError, match="503"):
        local(attempts=1).fetch(f"{server.url}/busy/2")
    with pytest.raises(StatusError, match="404 Not Found"):
        local().fetch(f"{server.url}/gone")
    assert server.asked["/gone"] == 1
    with pytest.raises(StatusError, match="429"):  # asks to wait for a day
        local().fetch(f"{server.url}/patient")
    assert server.asked["/patient"] == 1


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/dying", r"broke off after .* \(3 attempts\)"), ("/silent", r"no answer .* \(3 attempts\)")],
)
def test_server_that_dies_is_asked_again_some_times(server: Server, path: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        local(attempts=3).fetch(f"{server.url}{path}")
    assert server.asked[path] == 3


@pytest.mark.parametrize(
    ("path", "reason", "options"),
    [
        ("/large", "more than 100,000 bytes", {"max_bytes": 100_000}),
        ("/endless", "more than 100,000 bytes", {"max_bytes": 100_000}),
        ("/slow", "took more than 0.2 seconds", {"max_seconds": 0.2}),
        ("/packed", "packed by the server", {}),
    ],
)
def test_size_and_time_are_bounded(
    server: Server, path: str, reason: str, options: dict[str, object]
) -> None:
    with pytest.raises(InputError, match=reason):
        local(**options).fetch(f"{server.url}{path}")
    assert server.asked[path] == 1


def test_site_that_fails_again_and_again_is_given_up(server: Server) -> None:
    fetcher = local(attempts=1)
    for number in range(20):
        with pytest.raises(InputError, match="no answer"):
            fetcher.fetch(f"{server.url}/silent/{number}")
    with pytest.raises(InputError, match="20 times in a row"):
        fetcher.fetch(f"{server.url}/good/1")
    assert server.asked["/good/1"] == 0


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "10.1.2.3",
        "192.168.0.7",
        "169.254.169.254",
        "[::ffff:10.0.0.1]",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
        "224.0.0.1",
        "[fd00::1]",
    ],
)
def test_private_machines_are_not_asked(host: str) -> None:
    with pytest.raises(InputError, match="private address"):
        checked_address(f"http://{host}/x", allow_private=False)


def test_redirect_to_a_private_machine_is_not_followed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = addresses._is_public
    monkeypatch.setattr(addresses, "_is_public", lambda ip: ip == "127.0.0.1" or public(ip))
    fetcher = Fetcher(first_wait=0)
    assert fetcher.fetch(f"{server.url}/good/1").content == picture()
    with pytest.raises(InputError, match=r"169\.254\.169\.254 is a private address"):
        fetcher.fetch(f"{server.url}/inside")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://1.1.1.1/x", "http:// or https:// is expected"),
        ("file:///etc/passwd", "http:// or https:// is expected"),
        ("//1.1.1.1/x", "http:// or https:// is expected"),
        ("http://", "http:// or https:// is expected"),
        ("http://name:word@1.1.1.1/x", "user name or password"),
        ("http://1.1.1.1:99999/x", "no address"),
        ("http://1.1.1.1/a b", "spaces"),
        ("http://1.1.1.1/a\r\nHost: other", "spaces"),
    ],
)
def test_what_is_no_address_of_the_web_is_refused(url: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        checked_address(url, allow_private=False)


def test_address_is_asked_as_the_machine_that_was_checked() -> None:
    address = checked_address("http://1.1.1.1:8080/ü?a=b#c", allow_private=False)
    assert address == ("http", "1.1.1.1", 8080, "1.1.1.1", "/%C3%BC?a=b")
    assert address.site == "http://1.1.1.1:8080"
