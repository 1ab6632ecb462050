"""`slifmr init`: a configuration that explains itself, and changes nothing."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from slifmr_pl.cli import main
from slifmr_pl.cli.commented_configuration import commented_configuration
from slifmr_pl.cli.described_settings import described_settings, plain_text, type_in_words
from slifmr_pl.cli.lightning import fit_settings


def settings_of(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    with pytest.raises(SystemExit):
        main(["fit", *args, "--print_config"])
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize("start", [[], ["--config", "demo"], ["--set", "model=Ease"]])
def test_a_file_gives_the_settings_that_there_are_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], start: list[str]
) -> None:
    file = tmp_path / "mine.yaml"
    assert main(["init", str(file), *start]) == 0
    assert f"slifmr fit --config {file}" in capsys.readouterr().out
    flags = [word.replace("model=", "--model=") for word in start if word != "--set"]
    expected = settings_of(capsys, *flags, "--data.root", "shop")
    assert settings_of(capsys, "--config", str(file), "--data.root", "shop") == expected


def test_every_setting_is_there_with_what_it_means(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    assert main(["init", str(file)]) == 0
    words = " ".join(re.sub(r"^ *# ", "", file.read_text(), flags=re.MULTILINE).split())
    parser, _ = fit_settings([])
    for key, setting in described_settings(parser).items():
        assert setting.text in words, key
        assert re.search(rf"^ *(# )?{key.rpartition('.')[2]}:", file.read_text(), re.MULTILINE)


def test_what_has_to_be_given_is_a_comment_until_it_is(tmp_path: Path) -> None:
    for name, more in (("without", []), ("with", ["--set", "data.root=shop"])):
        assert main(["init", str(tmp_path / name), *more]) == 0
    without, given = ((tmp_path / name).read_text() for name in ("without", "with"))
    assert "  # root: …" in without
    assert "\n  root: shop\n" in given
    assert "--data.root PATH" in without
    assert "--data.root PATH" not in given


@pytest.mark.parametrize(
    ("more", "asks"),
    [
        ([], True),
        (["--set", "data=slifmr_pl.datamodule.SlifMrDataModule"], True),
        (["--set", "data=tests.extending.parts.clusters_data.ClustersDataModule"], False),
    ],
)
def test_a_data_folder_is_asked_for_where_the_data_come_from_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], asks: bool
) -> None:
    assert main(["init", str(tmp_path / "mine.yaml"), *more]) == 0
    assert ("--data.root PATH" in capsys.readouterr().out) is asks


def test_a_file_that_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: precious\n")
    assert main(["init", str(file)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert file.read_text() == "name: precious\n"
    assert main(["init", str(file), "--overwrite"]) == 0
    assert "precious" not in file.read_text()


def test_a_setting_that_is_none_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    assert main(["init", str(file), "--set", "data.splt.seed=3"]) == 2
    assert "did you mean data.split.seed" in capsys.readouterr().err
    assert not file.exists()


def test_parts_and_modalities_are_written_whole(tmp_path: Path) -> None:
    parser, values = fit_settings(["--config=demo"])
    written = yaml.safe_load(commented_configuration(parser, values))
    assert written == values
    assert written["data"]["modalities"]["text"]["columns"] == ["title", "description"]


@pytest.mark.parametrize(
    ("docstring", "text"),
    [
        ("If ``None``, all.\n    Default: ``None``.", "If `null`, all."),
        ("Uses :class:`~torch.utils.data.DistributedSampler`.", "Uses DistributedSampler."),
        ("Where to.  .. note:: Elsewhere.", "Where to."),
    ],
)
def test_docstrings_become_plain_text(docstring: str, text: str) -> None:
    assert plain_text(docstring) == text


def test_types_are_said_in_words() -> None:
    assert type_in_words(float | None) == "number or null"
    assert type_in_words(tuple[float, float]) == "list of number"
    assert type_in_words(dict[str, int] | bool) == "whole number by name or true or false"
