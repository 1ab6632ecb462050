"""Presets: the configurations that come with the package, named without a path or a suffix.

In the project's folder they are `configs/`; an installed package carries them as `presets/`.
"""

from difflib import get_close_matches
from pathlib import Path

from slifmr_pl.errors import ConfigError

_PACKAGE = Path(__file__).parents[1]


def presets_folder() -> Path:
    """Where the presets are."""
    installed = _PACKAGE / "presets"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def presets() -> dict[str, Path]:
    """All presets by name, such as `model/lightgcn`; those without a folder come first."""
    root = presets_folder()
    files = sorted(root.rglob("*.yaml"), key=lambda file: (file.parent != root, file))
    return {file.relative_to(root).with_suffix("").as_posix(): file for file in files}


def summary_of(preset: Path) -> str:
    """The first line of a preset's comment."""
    with preset.open(encoding="utf-8") as file:
        return file.readline().strip("# \n")


def configuration(name: str | Path) -> Path:
    """The configuration file of a name: a file that is there, or else a preset.

    Raises:
        ConfigError: If there is neither.
    """
    path, known = Path(name), presets()
    if path.is_file():
        return path
    key = path.as_posix().removeprefix("configs/").removesuffix(".yaml")
    if key in known:
        return known[key]
    near = [preset for preset in known if preset.rpartition("/")[2] == key]
    near = near or get_close_matches(key, known, n=1)
    raise ConfigError(
        f"there is no file {name}, and no preset of that name",
        expected="a YAML file"
        if path.suffix
        else f"a YAML file, or one of the presets {', '.join(known)}",
        fix=f"did you mean {near[0]}?" if near else "check the path; `slifmr presets` lists them",
    )
