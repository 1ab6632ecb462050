"""Plug-ins: packages of the user's that bring parts of their own.

A package counts as a plug-in if the user names it (`--plugins my_package`, or `load`), or if it is
installed with an entry point in the group `slifmr_pl.plugins`:

    [project.entry-points."slifmr_pl.plugins"]
    my_package = "my_package"

What a file names, such as a checkpoint, is looked up in this package, in plug-ins, and in modules
that are imported already. Nothing else is ever imported for a file's sake.
"""

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from slifmr_pl.errors import ConfigError

ENTRY_POINT_GROUP = "slifmr_pl.plugins"
OWN_PACKAGES = ("slifmr_pl", "feature_extraction")

Kind = TypeVar("Kind")

_named: list[str] = []


def load(names: Iterable[str]) -> None:
    """Imports packages or modules as plug-ins.

    Args:
        names: As in `import NAME`.

    Raises:
        ConfigError: If one cannot be imported.
    """
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            absent = isinstance(error, ModuleNotFoundError) and error.name in _with_parents(name)
            raise ConfigError(
                f"the plug-in {name} cannot be imported ({error})",
                expected="a package or module that Python finds",
                fix=f"pip install {name.partition('.')[0]}, or put its folder on PYTHONPATH"
                if absent
                else "mend the plug-in, or install what it needs",
            ) from error
        if name not in _named:
            _named.append(name)


def load_from_here(names: Iterable[str]) -> None:
    """Imports plug-ins that may lie in the current folder, where a console script does not look.

    Raises:
        ConfigError: If one cannot be imported.
    """
    folder, names = str(Path.cwd()), list(names)
    if names and not {"", folder} & set(sys.path):
        sys.path.append(folder)
    load(names)


def load_installed() -> None:
    """Imports the plug-ins that are installed with an entry point.

    Raises:
        ConfigError: If one cannot be imported.
    """
    load(sorted(entry.module for entry in entry_points(group=ENTRY_POINT_GROUP)))


def loaded() -> dict[str, str | None]:
    """Version by name of the plug-ins; None where the package has none."""
    return {name: version_of(name) for name in _named}


def arguments() -> list[str]:
    """The command line that hands the plug-ins of this process on to a process that it starts."""
    return [f"--plugins={','.join(_named)}"] if _named else []


@cache
def version_of(module: str) -> str | None:
    """Version of the installed package that a module is of; None where it is not installed."""
    top = module.partition(".")[0]
    for distribution in packages_distributions().get(top, [top]):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def resolve(class_path: str, kind: type[Kind], where: str) -> type[Kind]:
    """The class that a file names.

    Args:
        class_path: `package.module.Class`.
        kind: What it has to be a subclass of.
        where: Where the name stands, for errors.

    Raises:
        ConfigError: If its module is none that may be imported, or holds no such class.
    """
    module_name, _, class_name = class_path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in class_path.split(".")):
        raise _no_class(class_path, where, "a name package.module.Class")
    if module_name not in sys.modules:
        _require_plugin(module_name, class_path, where)
        try:
            import_module(module_name)
        except ModuleNotFoundError as error:
            raise _no_class(class_path, where, f"a class ({error})") from error
    named = getattr(sys.modules[module_name], class_name, None)
    if not isinstance(named, type) or not issubclass(named, kind):
        raise _no_class(class_path, where, f"a subclass of {kind.__module__}.{kind.__qualname__}")
    return named


def find_class(
    name: str, kind: type[Kind], where: str, built_in: Collection[str] = ()
) -> type[Kind]:
    """The class that a user names, by its path, or by its name alone where it is imported.

    Args:
        name: `package.module.Class` or `Class`.
        kind: What it has to be a subclass of.
        where: Where the name stands, for errors.
        built_in: Names that are there, too, and imported by whoever asks for them.

    Raises:
        ConfigError: If there is none, or if there are several.
    """
    if "." in name:
        return resolve(name, kind, where)
    known = [cls for cls in _subclasses(kind) if _is_there(cls)]
    named = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in known if cls.__name__ == name}
    if len(named) == 1:
        return next(iter(named.values()))
    near = get_close_matches(name, [cls.__name__ for cls in known] + list(built_in), n=1)
    raise ConfigError(
        f"{where} is {name}, and "
        + (f"there are {' and '.join(named)}" if named else "no class of that name is imported"),
        expected=", ".join(
            [*built_in, "the name of a class of a plug-in, or package.module.Class"]
        ),
        fix=f"did you mean {near[0]}?"
        if near and not named
        else "name its module, or add --plugins PACKAGE",
    )


def package_of(name: str) -> list[str]:
    """The module of a class that the user names; to be named makes it a plug-in."""
    module = name.rpartition(".")[0]
    own = module.partition(".")[0] in (*OWN_PACKAGES, "__main__", "")
    return [] if own else [module]


def class_paths(settings: Any) -> list[str]:
    """All classes that nested settings name by `class_path`, each once."""
    paths: dict[str, None] = {}
    if isinstance(settings, Mapping):
        name = settings.get("class_path")
        if isinstance(name, str):
            paths[name] = None
        settings = list(settings.values())
    if isinstance(settings, list | tuple):
        for entry in settings:
            paths |= dict.fromkeys(class_paths(entry))
    return list(paths)


def _subclasses(kind: type[Kind]) -> Iterator[type[Kind]]:
    below: list[type[Kind]] = kind.__subclasses__()
    for cls in below:
        yield cls
        yield from _subclasses(cls)


def _is_there(cls: type) -> bool:
    """Whether a class can be imported by its own path."""
    return getattr(sys.modules.get(cls.__module__), cls.__name__, None) is cls


def _require_plugin(module: str, class_path: str, where: str) -> None:
    """Refuses to import a module that the user has not asked for."""
    installed = [entry.module for entry in entry_points(group=ENTRY_POINT_GROUP)]
    tops = {name.partition(".")[0] for name in (*OWN_PACKAGES, *_named, *installed)}
    top = module.partition(".")[0]
    if top in tops:
        return
    try:
        present = find_spec(top) is not None
    except (ImportError, ValueError):
        present = False
    raise ConfigError(
        f"{where} needs {class_path} of the package {top}",
        expected="a plug-in: nothing else is imported for what a file says",
        fix=("" if present else f"pip install {top}, then ")
        + f"--plugins {top}, or `import {module}` first in Python",
    )


def _no_class(class_path: str, where: str, expected: str) -> ConfigError:
    return ConfigError(
        f"{where} names {class_path}",
        expected=expected,
        fix="check the name, and the version of the package that it is of",
    )


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
