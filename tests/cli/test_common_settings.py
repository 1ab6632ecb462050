"""Help in layers: what it names exists, and the whole is one word away."""

import pytest

from slifmr_pl.cli import main
from slifmr_pl.cli.common_settings import FIT, TRAINED
from slifmr_pl.cli.described_settings import described_settings
from slifmr_pl.cli.lightning import fit_settings


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    assert ended.value.code in (0, None)
    return capsys.readouterr().out


def test_every_common_setting_exists_and_is_explained() -> None:
    parser, _ = fit_settings([])
    settings = described_settings(parser)
    common = {key for groups in (FIT, TRAINED) for keys in groups.values() for key in keys}
    assert not common - settings.keys()
    assert all(settings[key].summary for key in common)


@pytest.mark.parametrize(("subcommand", "groups"), [("fit", FIT), ("test", TRAINED)])
def test_help_names_the_common_settings_alone(
    capsys: pytest.CaptureFixture[str], subcommand: str, groups: dict[str, dict[str, str | None]]
) -> None:
    text = printed(capsys, subcommand, "--help")
    named = {line.split()[0] for line in text.splitlines() if line.startswith("  --")}
    assert named == {f"--{key}" for keys in groups.values() for key in keys}
    assert len(text.splitlines()) < 100  # also in 80 columns
    assert "--help all" in text


@pytest.mark.parametrize("args", [("--help", "all"), ("--help=all",), ("-h", "all")])
def test_help_all_names_every_setting(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...]
) -> None:
    text = printed(capsys, "fit", *args)
    parser, _ = fit_settings([])
    assert not [key for key in described_settings(parser) if f"--{key}" not in text]


def test_help_of_a_section_explains_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "fit", "--help", "data.split")
    flags = [line.split()[0] for line in text.splitlines() if line.startswith("  --")]
    assert flags == [f"--data.split.{name}" for name in ("strategy", "ratios", "seed")]
    assert "ratio, leave_one_out, temporal or given; default: ratio" in text
    assert "carved from training" in " ".join(text.split())


def test_help_of_a_section_that_is_none_names_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["fit", "--help", "daat"]) == 2
    assert "data, " in capsys.readouterr().err


def test_help_of_another_model_has_all_of_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "fit", "--model", "ItemKnn", "--help")
    assert "--model.shrinkage" in text
    assert "--data.split.strategy" in text
    assert "self_loop" not in text
