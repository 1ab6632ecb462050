"""The source code that features of an encoder depend on, for the content key."""

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec, resolve_name
from pathlib import Path

from feature_extraction.errors import FeatureError
from feature_extraction.hashing import file_sha256

_OWN = __name__.partition(".")[0]


def source_code(*classes: type) -> dict[str, str]:
    """Return what identifies the code of classes that are not of this package.

    Args:
        classes: Encoders and raw modalities; their bases are looked at, too.

    Returns:
        Of an installed package its version. Of other code the SHA-256 of the modules that define
        the classes, and of those of the same package that these import, and so on. Empty for
        classes of this package.

    Raises:
        FeatureError: A class is defined in no file.
    """
    identity: dict[str, str] = {}
    for cls in dict.fromkeys(base for one in classes for base in one.__mro__):
        package = cls.__module__.partition(".")[0]
        if package == _OWN or package in sys.stdlib_module_names:
            continue
        path = _source_path(cls.__module__)
        if path is None:
            raise FeatureError(
                f"the class {cls.__qualname__} of {cls.__module__} is in no file",
                expected="a class in a file, which says when features have to be computed anew",
                fix="write it into a module of your own, and import it",
            )
        installed = {"site-packages", "dist-packages"} & set(path.parts)
        identity |= (installed and _versions(package)) or _hashes(cls.__module__)
    return dict(sorted(identity.items()))


def _versions(package: str) -> dict[str, str]:
    """Version by name of the distributions that a package is of; none where it is of none."""
    return {name: version(name) for name in packages_distributions().get(package, [])}


def _hashes(module: str) -> dict[str, str]:
    """SHA-256 of a module, and of all of its package that it imports, by name."""
    hashes: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = None if name in hashes else _source_path(name)
        if path is not None:
            hashes[name] = file_sha256(path)
            waiting += _imported(path, name)
    return hashes


def _source_path(module: str) -> Path | None:
    """The source file of a module; None where it has none."""
    if module in sys.modules:
        name = getattr(sys.modules[module], "__file__", None)
    else:
        try:
            spec = find_spec(module)
        except (ImportError, ValueError):
            return None
        name = spec.origin if spec is not None and spec.has_location else None
    path = None if name is None else Path(name)
    return path if path is not None and path.is_file() else None


def _imported(path: Path, module: str) -> Iterator[str]:
    """What a source imports of its own package; names that are no modules are found to be none."""
    if path.suffix != ".py":
        return
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    top = module.partition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level and package:
                base = resolve_name("." * node.level + base, package)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.partition(".")[0] == top)
