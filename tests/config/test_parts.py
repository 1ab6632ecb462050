import copy
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from slifmr_pl.config import plugins
from slifmr_pl.config.conversion import part_from_settings
from slifmr_pl.config.parts import Part, is_settings
from slifmr_pl.errors import ConfigError


@dataclass(frozen=True)
class Depth:
    layers: int = 2


class Term(Part, nn.Module):
    """A contract."""


class Learned(Term):
    def __init__(self, weight: float, depth: Depth = Depth(), inner: Term | None = None) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.full((), float(weight)))
        self.inner = inner


class Open(Term):
    def __init__(self, **options: int) -> None:
        super().__init__()
        self.options = options


class Elsewhere(Part):
    pass


def test_a_part_remembers_its_arguments_in_plain_types() -> None:
    part = Learned(0.5, inner=Learned(weight=2.0, depth=Depth(3)))
    name = f"{__name__}.Learned"
    assert part.settings == {
        "class_path": name,
        "init_args": {
            "weight": 0.5,
            "depth": {"layers": 2},
            "inner": {
                "class_path": name,
                "init_args": {"weight": 2.0, "depth": {"layers": 3}, "inner": None},
            },
        },
    }
    assert Open(a=1).settings["init_args"] == {"a": 1}


def test_a_part_is_made_from_its_settings() -> None:
    part = Learned(0.5, inner=Learned(2.0))
    again = part_from_settings(Term, part.settings, "here")
    assert isinstance(again, Learned)
    assert isinstance(again.inner, Learned)
    assert again.settings == part.settings
    assert is_settings(part.settings)


def test_a_fresh_part_shares_no_parameters() -> None:
    part = Learned(0.5, inner=Learned(2.0))
    with torch.no_grad():
        part.value.fill_(7.0)
    fresh = part.fresh()
    assert fresh.value.item() == 0.5
    assert fresh.inner is not part.inner
    copied = copy.deepcopy(part)
    assert copied.value.item() == 7.0
    assert copied.settings == part.settings


def test_arguments_that_are_not_plain_are_refused_where_they_are_written_down() -> None:
    part = Learned(torch.tensor(1.0))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"Learned\(weight=…\) is a Tensor"):
        _ = part.settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_path": f"{__name__}.Elsewhere"}, "a subclass of .*Term"),
        ({"class_path": f"{__name__}.Missing"}, "a subclass of"),
        ({"class_path": "subprocess.Popen", "init_args": {"args": "true"}}, "a subclass of"),
        ({"class_path": "Learned"}, "package.module.Class"),
        ({"class_path": f"{__name__}.Learned", "init_args": {"wait": 1}}, "does not take"),
        ({"init_args": {}}, "class_path, and perhaps init_args"),
        ({"class_path": "this.is not.a name"}, "package.module.Class"),
    ],
)
def test_what_describes_no_part_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        part_from_settings(Term, settings, "here")


def write_plugin(folder: Path, name: str) -> None:
    (folder / f"{name}.py").write_text(
        "from pathlib import Path\n"
        "from slifmr_pl.config.parts import Part\n"
        f"Path({str(folder / f'{name}.imported')!r}).touch()\n"
        "class Mine(Part):\n    pass\n"
    )


def test_nothing_is_imported_that_the_user_has_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(tmp_path, "unnamed_plugin")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = {"class_path": "unnamed_plugin.Mine"}
    with pytest.raises(ConfigError, match="--plugins unnamed_plugin"):
        part_from_settings(Part, settings, "the checkpoint")
    assert not (tmp_path / "unnamed_plugin.imported").exists()
    monkeypatch.setattr(plugins, "_named", [])
    plugins.load(["unnamed_plugin"])
    assert type(part_from_settings(Part, settings, "the checkpoint")).__name__ == "Mine"
    assert plugins.loaded() == {"unnamed_plugin": None}
    monkeypatch.delitem(sys.modules, "unnamed_plugin")


def test_what_is_not_installed_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(ConfigError, match="pip install no_such_package, then --plugins"):
        part_from_settings(Part, {"class_path": "no_such_package.Mine"}, "the checkpoint")
    with pytest.raises(ConfigError, match="pip install no_such_package, or put"):
        plugins.load(["no_such_package.inside"])


def test_an_installed_plugin_is_found_by_its_entry_point(tmp_path: Path) -> None:
    write_plugin(tmp_path, "installed_plugin")
    info = tmp_path / "installed_plugin-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-plugin\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[slifmr_pl.plugins]\nmine = installed_plugin\n")
    (info / "top_level.txt").write_text("installed_plugin\n")
    (info / "RECORD").write_text("installed_plugin.py,,\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from slifmr_pl.config import plugins\n"
        "from slifmr_pl.config.conversion import part_from_settings\n"
        "from slifmr_pl.config.parts import Part\n"
        "part = part_from_settings(Part, {'class_path': 'installed_plugin.Mine'}, 'here')\n"
        "print(type(part).__name__)\n"
        "plugins.load_installed()\n"
        "print(plugins.loaded())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["Mine", "{'installed_plugin': '1.2'}"]


def test_all_classes_of_nested_settings_are_found() -> None:
    settings = {"a": [{"class_path": "x.A", "init_args": {"b": {"class_path": "y.B"}}}], "c": 1}
    assert plugins.class_paths(settings) == ["x.A", "y.B"]


class Composed(Part):
    """Arguments of every plain kind."""

    def __init__(
        self,
        file: Path,
        depths: dict[str, Depth],
        terms: list[Term] | None = None,
        sizes: tuple[int, ...] = (1,),
        activation: object = torch.relu,
    ) -> None:
        self.file = file
        self.depths = depths
        self.terms = terms
        self.sizes = sizes


def test_arguments_come_back_as_what_the_constructor_takes() -> None:
    part = Composed(Path("a/b"), {"x": Depth(3)}, [Learned(1.0, Depth(4))], (5, 6))
    again = part_from_settings(Composed, json.loads(json.dumps(part.settings)), "here")
    assert (again.file, again.depths, again.sizes) == (Path("a/b"), {"x": Depth(3)}, (5, 6))
    (term,) = again.terms or []
    assert isinstance(term, Learned)
    assert again.settings == part.settings
    assert "activation" not in part.settings["init_args"]  # a default that the class alone knows


def test_an_unknown_argument_of_a_nested_configuration_is_named() -> None:
    settings = Learned(1.0).settings
    settings["init_args"]["depth"] = {"layer": 3}
    with pytest.raises(ConfigError, match=r"unknown key here\.depth\.layer") as refused:
        part_from_settings(Term, settings, "here")
    assert refused.value.fix == "did you mean layers?"


class Named(Part):
    """A part whose contract declares a name and a weight."""

    name: str = ""
    weight: float = 1.0

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight
        self.calls = 0


def test_a_fresh_part_does_not_lose_what_was_set_from_outside() -> None:
    part = Named(2.0)
    part.calls = 3  # its own business
    assert part.fresh().weight == 2.0
    part.weight = 3.0
    with pytest.raises(ConfigError, match=r"weight of a Named was set to 3\.0 from outside"):
        part.fresh()
    part = Named()
    part.name = "other"
    with pytest.raises(ConfigError, match="name of a Named was set to 'other'"):
        part.fresh()
