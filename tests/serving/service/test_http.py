"""The service as a process of its own, asked over HTTP."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import pyarrow.parquet as pq
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from slifmr_pl.callbacks.recommendations import FILE
from slifmr_pl.cli import main
from slifmr_pl.serving.recommender import Recommendation, Recommender
from slifmr_pl.serving.service.payloads import MAX_BODY, MAX_FILTER, MAX_ID, MAX_K, MAX_USERS
from tests.models.runs import train
from tests.serving.grown_catalogue import store_of

DOCKERFILE = Path(__file__).parents[3] / "Dockerfile"
KEY = "the key"
NEW = ["like the first", "unknown"]
# The command, in a Python in which some modules are not to be found.
START = """
import sys
outside = set(sys.argv.pop(1).split(","))
class Outside:
    def find_spec(name, path, target=None):
        if name.partition(".")[0] in outside:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Outside)
from slifmr_pl.cli import main
sys.exit(main(["serve", *sys.argv[1:], "--port", "0"]))
"""


def modules_outside_the_image() -> list[str]:
    """What is installed here, and is neither in the Dockerfile nor needed by what is."""
    lines = DOCKERFILE.read_text().replace("\\\n", "").splitlines()
    (installs,) = (line for line in lines if "--constraint" in line)
    wanted = installs.partition("constraints.txt ")[2].split()
    assert "numpy" in wanted
    inside: set[str] = {"slifmr-pl", "setuptools"}
    while wanted:
        name = canonicalize_name(wanted.pop())
        if name not in inside:
            inside.add(name)
            needs = map(Requirement, metadata.requires(name) or [])
            wanted += [need.name for need in needs if need.marker is None or need.marker.evaluate()]
    return [
        module
        for module, owners in metadata.packages_distributions().items()
        if not inside.intersection(map(canonicalize_name, owners))
    ]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Service:
    """A running service.

    Attributes:
        process: The one that was started.
        port: Where it listens.
        log: What it prints.
        link: What it serves.
    """

    process: subprocess.Popen[str]
    port: int
    log: Path
    link: Path

    def ask(
        self, method: str, path: str, body: Any = None, key: str | None = KEY, **query: Any
    ) -> Answer:
        """A request; a body of bytes, or of an iterator that is sent in chunks, goes as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
            if isinstance(body, dict):
                body = json.dumps(body)
        if query:
            path += "?" + urlencode(query, doseq=True)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")  # pictures, too
            return Answer(answer.status, dict(answer.getheaders()), text)
        finally:
            connection.close()

    def list_of(self, user: str, **query: Any) -> Any:
        answer = self.ask("GET", f"/users/{quote(user, safe='')}/recommendations", **query)
        assert answer.status == 200, answer.text
        return answer.json

    def metric(self, name: str) -> float:
        for line in self.ask("GET", "/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[-1])
        return 0.0

    def serve(self, export: Path, outcome: str, workers: int = 1) -> str:
        """Links another export and waits until each worker has tried it; the version since."""
        name = f'slifmr_reloads_total{{outcome="{outcome}"}}'
        before = self.metric(name)
        self.link.unlink()
        self.link.symlink_to(export)
        self.process.send_signal(signal.SIGHUP)
        while self.metric(name) < before + workers:
            assert self.process.poll() is None
        version: str = self.ask("GET", "/version").json["export"]
        return version

    @contextmanager
    def asked_meanwhile(self) -> Iterator[list[Answer]]:
        """Asks for lists again and again; all answers are there at the end."""
        answers: list[Answer] = []
        stop = threading.Event()

        def keep_asking() -> None:
            while not stop.is_set():
                answers.append(self.ask("GET", "/users/u0001/recommendations", k=1))

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(keep_asking) for _ in range(4)]
            try:
                yield answers
            finally:
                stop.set()
        for one in asking:
            one.result()


@contextmanager
def running(folder: Path, export: Path, workers: int = 1) -> Iterator[Service]:
    """The service of a link to an export, once all workers listen."""
    link, log = folder / "served", folder / "log"
    outside = ",".join(modules_outside_the_image())
    assert "torch" in outside
    link.symlink_to(export)
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", START, outside, str(link), "--workers", str(workers)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"SLIFMR_API_KEY": KEY},
        )
        assert process.stderr is not None
        ports: list[int] = []
        ready = threading.Event()

        def copy() -> None:
            waited_for = workers + 1
            assert process.stderr is not None
            for line in process.stderr:
                out.write(line)
                out.flush()
                waited_for -= "Application startup complete" in line
                if address := re.search(r"running on http://127.0.0.1:(\d+)", line):
                    ports.append(int(address[1]))
                    waited_for -= 1
                if not waited_for:
                    ready.set()
            ready.set()

        thread = threading.Thread(target=copy)
        thread.start()
        try:
            assert ready.wait(120)
            assert ports, log.read_text()
            yield Service(process, ports[0], log, link)
        finally:
            process.terminate()
            process.wait(60)
            thread.join()
            process.stderr.close()


@pytest.fixture(scope="module")
def store(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of(catalogue, tmp_path_factory.mktemp("store")).path


@pytest.fixture(scope="module")
def export(checkpoint: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With two new items."""
    folder = tmp_path_factory.mktemp("grown")
    (folder / "grown.csv").write_text("item_id\n" + "\n".join(["i0000", *NEW]) + "\n")
    command = ["export", str(checkpoint), str(folder / "export"), "--features", str(store)]
    assert main([*command, "--new-items", str(folder / "grown.csv")]) == 0
    return folder / "export"


@pytest.fixture(scope="module")
def service(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service"), export) as service:
        yield service


@pytest.fixture(scope="module")
def recommender(checkpoint: Path, store: Path) -> Recommender:
    """What the answers are held against."""
    from feature_extraction import FeatureStore

    recommender = Recommender.from_checkpoint(checkpoint)
    recommender.add_items(NEW, stores={"text": FeatureStore.open(store)})
    return recommender


def same(places: list[dict[str, Any]], expected: list[Recommendation]) -> None:
    assert [place["item_id"] for place in places] == [one.item_id for one in expected]
    scores = [one.score for one in expected]
    assert [place["score"] for place in places] == pytest.approx(scores, abs=1e-5)


def recommendations(places: list[dict[str, Any]]) -> list[Recommendation]:
    return [Recommendation(**place) for place in places]


def users_of(recommender: Recommender) -> list[str]:
    users: list[str] = recommender.catalogue.users.ids.to_pylist()
    return users


# Lists


def test_lists_of_known_users_are_those_of_predict(service: Service, checkpoint: Path) -> None:
    rows = pq.read_table(checkpoint.parent / FILE).to_pylist()
    users = list(dict.fromkeys(row["user_id"] for row in rows))[::9]
    body = {"user_ids": users, "k": 7, "blocked": NEW}
    lists = service.ask("POST", "/recommendations", body).json["lists"]
    for user, one in zip(users, lists, strict=True):
        expected = [row for row in rows if row["user_id"] == user]
        assert (one["user_id"], one["source"]) == (user, "model")
        same(one["items"], [Recommendation(row["item_id"], row["score"]) for row in expected])
        same(service.list_of(user, k=7, blocked=NEW)["items"], recommendations(one["items"]))


def test_unknown_users_get_what_is_popular_and_it_says_so(
    service: Service, recommender: Recommender
) -> None:
    first, *_ = users_of(recommender)
    answer = service.list_of("somebody/else é", k=5)
    assert answer["source"] == "popular"
    counts = [recommender.seen.items.tolist().count(row) for row in range(60)]
    best = sorted(range(60), key=lambda row: (-counts[row], row))[:5]
    ids = recommender.items.decode(best)
    expected = [Recommendation(raw, counts[row]) for raw, row in zip(ids, best, strict=True)]
    same(answer["items"], expected)
    body = {"user_ids": ["nobody", first, "nobody"], "k": 5}
    lists = service.ask("POST", "/recommendations", body).json["lists"]
    assert [one["source"] for one in lists] == ["popular", "model", "popular"]
    assert lists[0] == lists[2]
    assert lists[0]["items"] == answer["items"]
    same(lists[1]["items"], recommendations(service.list_of(first, k=5)["items"]))


def test_history_is_ranked_as_the_recommender_does(
    service: Service, recommender: Recommender
) -> None:
    items = recommender.items.ids.to_pylist()
    question = {"item_ids": [*items[4:9], items[4], "nothing", NEW[0]], "k": 9}
    answer = service.ask("POST", "/histories/recommendations", question).json
    same(answer["items"], recommender.recommend_for_history([*items[4:9], NEW[0]], 9))
    assert answer["source"] == "model"
    assert answer["ignored"] == ["nothing", NEW[0]]


def test_history_of_which_nothing_is_known_gets_what_is_popular(service: Service) -> None:
    question = {"item_ids": ["nothing", NEW[1]], "k": 3}
    answer = service.ask("POST", "/histories/recommendations", question).json
    assert answer["source"] == "popular"
    assert answer["ignored"] == ["nothing", NEW[1]]
    assert answer["items"] == service.list_of("nobody", k=3)["items"]


@pytest.mark.parametrize("item", ["i0004", NEW[0]])
def test_similar_items_are_those_of_the_recommender(
    service: Service, recommender: Recommender, item: str
) -> None:
    answer = service.ask("GET", f"/items/{quote(item)}/similar", k=5).json
    same(answer["items"], recommender.similar_items([item], 5)[0])


def test_new_items_are_listed_alone_on_request(service: Service, recommender: Recommender) -> None:
    user = users_of(recommender)[3]
    answer = service.list_of(user, only_new="true")
    same(answer["items"], recommender.recommend([user], candidates=NEW)[0])
    assert service.ask("GET", "/version").json["new_items"] == 2


def test_filters_hold_and_unknown_ids_in_them_are_named(
    service: Service, recommender: Recommender
) -> None:
    user = users_of(recommender)[0]
    items = recommender.items.ids.to_pylist()
    answer = service.list_of(
        user, candidates=[*items[:20], "x"], blocked=["y", *items[:4], "x"], exclude_seen="false"
    )
    assert answer["ignored"] == ["x", "y"]
    same(
        answer["items"],
        recommender.recommend(
            [user], 20, candidates=items[:20], blocked=items[:4], exclude_seen=False
        )[0],
    )
    assert service.list_of(user, candidates=["x"])["items"] == []


# Refusals


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/items/nothing/similar", None, 404, "there is no item 'nothing'"),
        ("GET", "/nowhere", None, 404, "Not Found"),
        ("GET", "/recommendations", None, 405, "Method Not Allowed"),
        ("GET", "/users/u/recommendations?k=0", None, 422, "greater than or equal to 1"),
        ("GET", f"/users/u/recommendations?k={MAX_K + 1}", None, 422, "less than or equal"),
        ("GET", "/users/u/recommendations?block=x", None, 422, "Extra inputs"),
        ("GET", f"/users/{'u' * (MAX_ID + 1)}/recommendations", None, 422, "at most 512"),
        ("GET", "/users//recommendations", None, 422, "at least 1"),
        ("POST", "/recommendations", {"user_ids": []}, 422, "at least 1"),
        ("POST", "/recommendations", {"user_ids": "u0001"}, 422, "valid list"),
        ("POST", "/recommendations", {"user_ids": ["u"] * (MAX_USERS + 1)}, 422, "at most"),
        (
            "POST",
            "/recommendations",
            {"user_ids": ["u"], "blocked": ["i"] * (MAX_FILTER + 1)},
            422,
            "at most",
        ),
        ("POST", "/histories/recommendations", {"item_ids": [7]}, 422, "valid string"),
        ("POST", "/histories/recommendations", b"{", 422, "JSON decode error"),
        ("POST", "/recommendations", b" " * (MAX_BODY + 1), 413, "Too Large"),
    ],
)
def test_wrong_question_is_refused(
    service: Service, method: str, path: str, body: Any, status: int, said: str
) -> None:
    answer = service.ask(method, path, body)
    assert (answer.status, said in answer.text) == (status, True), answer


def test_body_of_unknown_length_is_limited(service: Service) -> None:
    answer = service.ask("POST", "/recommendations", iter([b" " * MAX_BODY, b" "]))
    assert answer.status == 413


@pytest.mark.parametrize("key", [None, "", "the keys", "thé key"])
def test_without_the_key_only_probes_and_documentation_answer(
    service: Service, key: str | None
) -> None:
    for method, path in [
        ("GET", "/users/u/recommendations"),
        ("POST", "/recommendations"),
        ("POST", "/histories/recommendations"),
        ("GET", "/items/i0001/similar"),
        ("GET", "/version"),
        ("GET", "/metrics"),
    ]:
        answer = service.ask(method, path, key=key)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer"), path
    for path in ("/health", "/ready", "/docs", "/openapi.json"):
        assert service.ask("GET", path, key=key).status == 200, path


# What is seen from outside


def test_documentation_describes_each_route_and_needs_no_network(service: Service) -> None:
    page = service.ask("GET", "/docs").text
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert any(file.endswith(".js") for file in files)
    for file in files:
        assert not urlsplit(file).netloc, file
        assert service.ask("GET", file).status == 200, file
    document = service.ask("GET", "/openapi.json").json
    routes = {
        (method, path): route
        for path, methods in document["paths"].items()
        for method, route in methods.items()
    }
    assert len(routes) == 8
    for (method, path), route in routes.items():
        assert route["summary"], path
        assert route["description"], path
        expected = {"200"}
        if route["tags"] == ["lists"]:
            expected |= {"401", "422", "501"} | ({"413"} if method == "post" else set())
        assert expected <= route["responses"].keys(), path
        assert "security" in route or path in ("/health", "/ready"), path
    for schema in document["components"]["schemas"].values():
        if schema["title"].endswith("Question"):
            assert any("examples" in field for field in schema["properties"].values())


def test_ids_of_users_are_in_no_log_and_no_metric(service: Service) -> None:
    service.list_of("secret-user", k=1)
    service.ask("GET", "/users/secret-user/recommendations", k=0)
    service.ask("GET", "/secret-user")
    metrics = service.ask("GET", "/metrics").text
    log = service.log.read_text()
    assert "GET /users/{user_id}/recommendations 200" in log
    assert "GET none 404" in log
    assert "secret-user" not in log + metrics


def test_metrics_count_requests_lists_and_seconds(service: Service) -> None:
    requests = 'slifmr_requests_total{route="/recommendations",status="200"}'
    popular = 'slifmr_lists_total{source="popular"}'
    before = service.metric(requests), service.metric(popular)
    service.ask("POST", "/recommendations", {"user_ids": ["nobody", "noone"]})
    assert (service.metric(requests), service.metric(popular)) == (before[0] + 1, before[1] + 2)
    route = 'slifmr_request_seconds_count{route="/recommendations"}'
    assert service.metric(route) >= service.metric(requests)


# Exports that change


@pytest.fixture(scope="module")
def second(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another export, without new items."""
    folder = tmp_path_factory.mktemp("second") / "export"
    assert main(["export", str(checkpoint), str(folder)]) == 0
    return folder


def test_hangup_loads_another_export_while_every_request_is_answered(
    service: Service, export: Path, second: Path, tmp_path: Path
) -> None:
    with service.asked_meanwhile() as answers:
        versions = [service.ask("GET", "/version").json["export"]]
        versions.append(service.serve(second, "loaded"))
        assert service.serve(tmp_path / "nothing", "failed") == versions[1]
        assert f"The export {versions[1]} stays" in service.log.read_text()
        assert service.serve(export, "loaded") == versions[0] != versions[1]
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["export"] for answer in answers} == set(versions)


def test_question_that_an_export_of_lists_cannot_answer_is_refused(
    service: Service, export: Path, catalogue: Path, tmp_path: Path
) -> None:
    ease = train("ease", catalogue, tmp_path / "runs" / "version_0")
    assert main(["export", str(ease.checkpoint), str(tmp_path / "lists")]) == 0
    service.serve(tmp_path / "lists", "loaded")
    try:
        refused = service.ask("GET", "/items/i0001/similar")
        assert (refused.status, "no vectors" in refused.text) == (501, True)
        assert service.list_of("u0001", k=3)["source"] == "model"
    finally:
        service.serve(export, "loaded")


def test_workers_reload_together_and_add_their_metrics_up(
    export: Path, second: Path, tmp_path: Path
) -> None:
    with running(tmp_path, export, workers=2) as several:
        for _ in range(20):
            several.list_of("u0001", k=1)
        assert several.metric('slifmr_lists_total{source="model"}') == 20
        with several.asked_meanwhile() as answers:
            several.serve(tmp_path / "nothing", "failed", workers=2)
            several.serve(second, "loaded", workers=2)
        assert {answer.status for answer in answers} == {200}
        assert 'new_items":0' in several.ask("GET", "/version").text
