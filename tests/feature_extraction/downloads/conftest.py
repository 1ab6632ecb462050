"""A server on this machine that is slow, lies about types, redirects in circles, and dies."""

import gzip
import io
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

pytest.importorskip("urllib3", reason="urllib3 is not installed (extra `download`)")


def picture(format: str = "JPEG", side: int = 16) -> bytes:
    file = io.BytesIO()
    Image.radial_gradient("L").resize((side, side)).convert("RGB").save(file, format=format)
    return file.getvalue()


PAGE = b"<!DOCTYPE html><html>Please log in</html>"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:  # the name is the base's
        path = self.path
        self.server.asked[path] += 1
        self.server.agents.add(self.headers["User-Agent"])
        name = path.strip("/").partition("/")[0].partition(".")[0]
        getattr(self, f"give_{name}", self.give_gone)(path)

    def answer(self, content: bytes, declared: str = "image/jpeg", **headers: str) -> None:
        self.send_response(int(headers.pop("status", "200")))
        self.send_header("Content-Type", declared)
        self.send_header("Content-Length", headers.pop("length", str(len(content))))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def give_good(self, path: str) -> None:
        self.answer(picture())

    def give_robots(self, path: str) -> None:
        rules = self.server.robots
        if isinstance(rules, int):
            self.answer(b"", status=str(rules))
        else:
            self.answer(rules.encode(), "text/plain")

    def give_gone(self, path: str) -> None:
        self.answer(b"no", status="404")

    def give_page(self, path: str) -> None:
        self.answer(PAGE, "image/png")

    def give_modest(self, path: str) -> None:
        self.answer(picture("PNG"), "text/plain")

    def give_circle(self, path: str) -> None:
        other = "/circle/b" if path == "/circle/a" else "/circle/a"
        self.answer(b"", status="302", Location=other)

    def give_moved(self, path: str) -> None:
        left = int(path.rpartition("/")[2])
        target = f"/moved/{left - 1}" if left else "/good/1"
        self.answer(b"", status="301", Location=target)

    def give_inside(self, path: str) -> None:
        self.answer(b"", status="302", Location="http://169.254.169.254/latest/meta-data")

    def give_busy(self, path: str) -> None:
        if self.server.asked[path] < 3:
            self.answer(b"", status="503", Retry_After="0")
        else:
            self.answer(picture())

    def give_patient(self, path: str) -> None:
        self.answer(b"", status="429", Retry_After="86400")

    def give_waiting(self, path: str) -> None:
        self.answer(b"", status="503", Retry_After="50")

    def give_large(self, path: str) -> None:
        self.answer(b"x", length=str(1 << 40))
        self.close_connection = True

    def give_endless(self, path: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        while not self.server.over.is_set():
            self.wfile.write(b"x" * 4096)

    def give_slow(self, path: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        while not self.server.over.wait(0.02):
            self.wfile.write(b"x")

    def give_dying(self, path: str) -> None:
        self.answer(b"\xff\xd8\xff", length="1000")
        self.close_connection = True

    def give_silent(self, path: str) -> None:
        self.close_connection = True  # without a word

    def give_packed(self, path: str) -> None:
        self.answer(gzip.compress(picture()), Content_Encoding="gzip")

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: Counter[str] = Counter()
        self.agents: set[str] = set()
        self.robots: str | int = 404
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # the client hung up, as it should


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()
