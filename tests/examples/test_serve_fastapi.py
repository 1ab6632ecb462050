"""The example service as a process of its own, asked over HTTP."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pyarrow.parquet as pq
import pytest

from slifmr_pl.callbacks.recommendations import FILE
from slifmr_pl.serving.export import export

EXAMPLE = Path(__file__).parents[2] / "examples" / "serve_fastapi.py"
# `main` of the example, in a Python that could not import torch or this package.
START = f"""
import sys, runpy
sys.modules.update(torch=None, slifmr_pl=None)
sys.argv = [{str(EXAMPLE)!r}, sys.argv[1], "--port", "0"]
runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def address(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served") / "export"
    export(checkpoint, folder)
    command = [sys.executable, "-c", START, str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if address := re.search(r"running on (http://\S+)", line):
                    yield address[1]
                    break
            else:
                pytest.fail("".join(lines))
        finally:
            process.terminate()


def ask(address: str, route: str, **query: Any) -> Any:
    with urlopen(f"{address}/{route}?{urlencode(query, doseq=True)}") as answer:
        return json.load(answer)


def test_lists_over_http_are_those_of_predict(address: str, checkpoint: Path) -> None:
    rows = pq.read_table(checkpoint.parent / FILE).to_pylist()
    for user in {row["user_id"] for row in rows[::100]}:
        expected = [row for row in rows if row["user_id"] == user]
        answer = ask(address, "recommendations", user_id=user, k=7)
        assert [entry["item_id"] for entry in answer] == [row["item_id"] for row in expected]
        scores = [row["score"] for row in expected]
        assert [entry["score"] for entry in answer] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize(("query", "status"), [({"user_id": "nobody"}, 404), ({}, 422)])
def test_wrong_question_is_refused(address: str, query: dict[str, Any], status: int) -> None:
    with pytest.raises(HTTPError) as refused:
        ask(address, "recommendations", **query)
    assert refused.value.code == status
