from pathlib import Path
from typing import Any

import pytest

from slifmr_pl.config.files import merged_configuration, named_plugins
from slifmr_pl.config.sections import class_and_settings, section_of
from slifmr_pl.errors import ConfigError


@pytest.mark.parametrize(
    ("section", "name", "settings"),
    [
        (None, None, {}),
        ("a.B", "a.B", {}),
        ({"x": 1}, None, {"x": 1}),
        ({"class_path": "a.B"}, "a.B", {}),
        ({"class_path": "a.B", "init_args": {"x": 1}}, "a.B", {"x": 1}),
        ({"init_args": {"x": 1}}, None, {"x": 1}),
    ],
)
def test_section_names_a_class_in_several_ways(
    section: Any, name: str | None, settings: dict[str, Any]
) -> None:
    assert class_and_settings(section, "model") == (name, settings)
    assert class_and_settings(section_of(name, settings), "model") == (name, settings)


@pytest.mark.parametrize(
    "section", [[1], {"class_path": "a.B", "x": 1}, {"class_path": "a.B", "init_args": [1]}]
)
def test_what_is_no_section_is_refused(section: Any) -> None:
    with pytest.raises(ConfigError, match="a section model that is"):
        class_and_settings(section, "model")


def test_files_compose_whichever_way_they_name_a_class(tmp_path: Path) -> None:
    texts = ["model: {x: 1, y: {z: 1}}", "model: a.B", "model: {init_args: {y: {w: 2}}}"]
    files = [tmp_path / f"{number}.yaml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    assert merged_configuration(files, {"model.x": 5, "data.root": "here"}) == {
        "model": {"class_path": "a.B", "init_args": {"x": 5, "y": {"z": 1, "w": 2}}},
        "data": {"root": "here"},
    }


@pytest.mark.parametrize("value", ["a,b", "[a, b]", ["a", "b"], "a, b,"])
def test_plugins_are_a_list_or_a_text(value: object) -> None:
    assert named_plugins({"plugins": value}) == ["a", "b"]
    assert named_plugins({"plugins": None}) == []


def test_plugins_that_are_no_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="plugins are"):
        named_plugins({"plugins": {"a": 1}})
