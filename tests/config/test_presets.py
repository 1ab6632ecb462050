from pathlib import Path

import pytest

from slifmr_pl.config.presets import configuration, presets, summary_of
from slifmr_pl.errors import ConfigError


def test_file_comes_before_the_preset_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert configuration("model/ease") == presets()["model/ease"]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "ease").write_text("name: mine")
    assert configuration("model/ease") == Path("model/ease")


def test_preset_is_found_by_the_path_that_it_has_in_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert configuration("configs/model/ease.yaml") == presets()["model/ease"]


@pytest.mark.parametrize("name", ["model/eas", "models/ease", "ease"])
def test_absent_preset_is_refused_with_the_one_that_was_meant(name: str) -> None:
    with pytest.raises(ConfigError, match=r"trainer/cpu(.|\n)*did you mean model/ease\?"):
        configuration(name)


def test_absent_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"there is no file runs/config\.yaml"):
        configuration("runs/config.yaml")


def test_presets_have_a_description() -> None:
    assert summary_of(presets()["model/ease"]) == "Baseline: EASE (Steck 2019), in closed form."
    assert list(presets())[:2] == ["base", "demo"]
