import sys
from pathlib import Path

import pytest

from benchmarks.growth import Measurement, draw, exponents
from slifmr_pl.errors import ConfigError


def measurement(n: int) -> Measurement:
    return Measurement(
        interactions=n,
        users=n // 12,
        items=n // 34,
        epoch=1e-9 * n**2,
        steps_watched=3,
        steps=n // 100,
        evaluation={1000: 1.0, 2000: 2.0, 8000: 32.0}[n],
        batches_watched=1,
        batches=1,
        memory=100 * n,
    )


MEASUREMENTS = [measurement(n) for n in (1000, 2000, 8000)]


def test_exponents_are_slopes_of_logarithms() -> None:
    assert exponents(MEASUREMENTS, "epoch") == pytest.approx({"all": 2.0, "last": 2.0})
    assert exponents(MEASUREMENTS, "step") == pytest.approx({"all": 1.0, "last": 1.0})
    assert exponents(MEASUREMENTS, "memory") == pytest.approx({"all": 1.0, "last": 1.0})
    bent = exponents(MEASUREMENTS, "evaluation")
    assert bent["last"] == pytest.approx(2.0)
    assert 1.0 < bent["all"] < 2.0


def test_same_figures_draw_the_same_file(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg", "c.png"):
        draw(MEASUREMENTS, tmp_path / "docs" / name)
    text = (tmp_path / "docs" / "a.svg").read_text("utf-8")
    assert text == (tmp_path / "docs" / "b.svg").read_text("utf-8")
    assert "<svg" in text
    assert (tmp_path / "docs" / "c.png").read_bytes().startswith(b"\x89PNG")


def test_plot_without_matplotlib_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"slifmr-pl\[report\]"):
        draw(MEASUREMENTS, tmp_path / "plot.svg")
