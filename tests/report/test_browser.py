"""Pages in a real browser, without a window."""

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from slifmr_pl.cli import main
from tests.report.conftest import HOSTILE
from tests.report.html.test_html import Elements

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium on this machine: apt install chromium"
)

# What a person would do, and see. The second script is not in the page's content policy.
DRIVER = """
addEventListener("load", () => {
  const form = document.querySelector("form.filter");
  const shown = () => document.querySelectorAll("#users > .example:not([hidden])").length;
  const type = (text, box) => {
    form.elements.text.value = text;
    form.elements.found.checked = box;
    form.elements.text.dispatchEvent(new Event("input", {bubbles: true}));
    return [shown(), form.querySelector("output").textContent];
  };
  const pictures = [...document.images];
  const user = document.querySelector("#users h3").textContent.replace("User ", "");
  const seen = {
    title: document.title,
    pictures: pictures.length,
    loaded: pictures.filter((one) => one.complete && one.naturalWidth > 0).length,
    unnamed: pictures.filter((one) => !one.alt).length,
    scrolls: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    all: type("", false),
    one: type(` ${user.toUpperCase()} `, false),
    none: type("no such user", false),
    found: type("", true),
  };
  const result = document.createElement("pre");
  result.id = "seen";
  result.dataset.seen = JSON.stringify(seen);
  document.body.append(result);
});
"""
FOREIGN = 'document.title = "broken";'


def browse(page: Path, profile: Path, width: int = 1100) -> tuple[str, str]:
    """The page's elements after its scripts ran, and what the console says."""
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={profile}", f"--window-size={width},900"]
    command += ["--virtual-time-budget=5000", "--dump-dom", page.as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    console = [line for line in ended.stderr.splitlines() if ":CONSOLE" in line]
    return ended.stdout, "\n".join(console)


def test_report_works_in_a_browser(run_folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert main(["report", str(run_folder), "--out", str(page)]) == 0
    dom, console = browse(page, tmp_path / "profile")
    assert console == ""
    assert "<title>Run demo</title>" in dom
    assert "12 of 12 shown" in dom
    assert HOSTILE not in dom

    driven = tmp_path / "driven.html"
    digest = base64.b64encode(hashlib.sha256(DRIVER.encode()).digest()).decode()
    text = page.read_text("utf-8").replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    scripts = f"<script>{DRIVER}</script><script>{FOREIGN}</script>"
    driven.write_text(text.replace("</body>", f"{scripts}</body>"), "utf-8")
    dom, console = browse(driven, tmp_path / "profile", width=500)
    assert "Content Security Policy" in console
    (result,) = (a for a in Elements(dom).of("pre") if a.get("id") == "seen")
    seen: dict[str, Any] = json.loads(result["data-seen"] or "")
    assert seen["title"] == "Run demo"
    assert seen["pictures"] == seen["loaded"] > 50
    assert (seen["unnamed"], seen["scrolls"]) == (0, False)
    with_found = page.read_text("utf-8").count('data-tags="found"')
    assert 0 < with_found < 12
    assert seen["all"] == [12, "12 of 12 shown"]
    assert seen["one"][0] == 1
    assert seen["none"] == [0, "0 of 12 shown"]
    assert seen["found"] == [with_found, f"{with_found} of 12 shown"]
