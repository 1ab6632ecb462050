"""Reads the source of every module: who imports whom, and what nobody may call."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("feature_extraction", "slifmr_pl")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
SCRIPTS = [ROOT / "lightning_cli.py", *sorted((ROOT / "benchmarks").rglob("*.py"))]

# Every room, from left to right: a module imports from its own room and from rooms to its left.
ROOMS = [
    "feature_extraction.tables",
    "feature_extraction.items",
    "feature_extraction.downloads",
    "feature_extraction.encoders",
    "feature_extraction.stores",
    "feature_extraction.extraction",
    "feature_extraction.cli",
    "slifmr_pl.config",
    "slifmr_pl.data",
    "slifmr_pl.data.formats",
    "slifmr_pl.demo",
    "slifmr_pl.graphs.sparse",
    "slifmr_pl.graphs",
    "slifmr_pl.nn",
    "slifmr_pl.losses",
    "slifmr_pl.metrics",
    "slifmr_pl.regression",
    "slifmr_pl.explanation",
    "slifmr_pl.distributed",
    "slifmr_pl.recommendation_datamodule",
    "slifmr_pl.datamodule",
    "slifmr_pl.runs",
    "slifmr_pl.checkpoints",
    "slifmr_pl.models",
    "slifmr_pl.module",
    "slifmr_pl.callbacks",
    "slifmr_pl.serving",
    "slifmr_pl.serving.service",
    "slifmr_pl.studies",
    "slifmr_pl.report.html",
    "slifmr_pl.report.inspection",
    "slifmr_pl.report",
    "slifmr_pl.cli",
]
# Stand beside each other, so that neither may use the other.
APART = {
    frozenset(pair)
    for pair in (
        ("slifmr_pl.losses", "slifmr_pl.metrics"),
        ("slifmr_pl.data", "slifmr_pl.demo"),
        ("slifmr_pl.data.formats", "slifmr_pl.demo"),
        ("slifmr_pl.serving", "slifmr_pl.studies"),
        ("slifmr_pl.serving", "slifmr_pl.serving.service"),
        ("slifmr_pl.serving.service", "slifmr_pl.studies"),
        ("slifmr_pl.callbacks", "slifmr_pl.serving"),
    )
}
# What every room may use: they stand left of all, and use each other alone.
EVERYWHERE = {
    *("feature_extraction.errors", "feature_extraction.extras"),
    *("feature_extraction.hashing", "feature_extraction.pipes"),
    "slifmr_pl.errors",
}
# Public names, of any room. Those of feature extraction slifmr_pl uses; no own room does.
FRONT_DOORS = {
    *("feature_extraction", "feature_extraction.__main__"),
    *("slifmr_pl", "slifmr_pl.__main__"),
}
LIGHTNING = {"pytorch_lightning", "lightning", "lightning_fabric"}
# What a room may not import of others' packages, nor what is below it.
FORBIDDEN = {
    "feature_extraction": LIGHTNING,
    "slifmr_pl.data": LIGHTNING | {"transformers"},
    "slifmr_pl.graphs": LIGHTNING | {"transformers", "torchmetrics"},
    "slifmr_pl.nn": LIGHTNING | {"transformers", "torchmetrics"},
    "slifmr_pl.losses": LIGHTNING | {"transformers", "torchmetrics"},
    "slifmr_pl.metrics": LIGHTNING | {"transformers"},
    "slifmr_pl.regression": LIGHTNING | {"transformers", "torchmetrics"},
    "slifmr_pl.serving.service": LIGHTNING | {"torch", "transformers", "torchmetrics"},
}


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file) for file in FILES}


def room(module: str) -> str | None:
    """Where a module lives; None for what every room may use, or what is no room."""
    if module in EVERYWHERE or module in FRONT_DOORS:
        return None
    inside = [name for name in ROOMS if module == name or module.startswith(f"{name}.")]
    return max(inside, key=len) if inside else None


def imported_modules(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Modules of ours that a source imports, wherever in it and in whichever form."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parents = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parents, base]).rstrip(".")
            inside = [f"{base}.{alias.name}" for alias in node.names]
            submodules = [name for name in inside if name in MODULES]
            names = submodules + ([base] if len(submodules) < len(inside) else [])
        for name in names:
            # `from package import name` of the top package asks for no room of it.
            if name.split(".")[0] in PACKAGES and name != "slifmr_pl":
                yield name


def forbidden_imports(source: str, module: str, *, is_package: bool = False) -> list[str]:
    tree = ast.parse(source)
    return [
        f"{module} imports {other}"
        for other in imported_modules(tree, module, is_package)
        if not may_import(module, other)
    ] + [
        f"{module} imports {package}"
        for package in foreign_packages(tree)
        if any(
            (module == name or module.startswith(f"{name}.")) and package in packages
            for name, packages in FORBIDDEN.items()
        )
    ]


def may_import(module: str, other: str) -> bool:
    if other in EVERYWHERE:
        return module.split(".")[0] == "slifmr_pl" or other.split(".")[0] == "feature_extraction"
    if module in EVERYWHERE:
        return False
    if module in FRONT_DOORS:
        return other.split(".")[0] == module.split(".")[0]
    if other in FRONT_DOORS:  # by its public names
        return module.split(".")[0] == "slifmr_pl" and other == "feature_extraction"
    own, its = room(module), room(other)
    if own is None or its is None:
        return False
    return ROOMS.index(its) <= ROOMS.index(own) and frozenset((own, its)) not in APART


def foreign_packages(tree: ast.AST) -> Iterator[str]:
    """Packages of others that a source imports."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            package = name.split(".")[0]
            if package not in PACKAGES:
                yield package


def keyword_is(call: ast.Call, name: str, value: object) -> bool:
    return any(
        keyword.arg == name
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is value
        for keyword in call.keywords
    )


def unsafe_calls(source: str) -> list[str]:
    """Calls that run or unpickle what a file or a configuration says."""
    calls = []
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "torch", "numpy"):
            # Under another name the checks below would not see them.
            calls += [
                f"line {node.lineno}: from {node.module} import {alias.name}"
                for alias in node.names
                if alias.name in ("load", "loads", "Unpickler")
            ]
        if isinstance(node, ast.Import):
            calls += [
                f"line {node.lineno}: import {alias.name} as {alias.asname}"
                for alias in node.names
                if alias.asname not in (None, {"numpy": "np"}.get(alias.name))
                and alias.name in ("pickle", "torch", "numpy")
            ]
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if (
            name in ("eval", "exec", "pickle.load", "pickle.loads", "pickle.Unpickler")
            or (name == "torch.load" and not keyword_is(node, "weights_only", True))
            or (name in ("np.load", "numpy.load") and not keyword_is(node, "allow_pickle", False))
            or any(
                keyword.arg == "trust_remote_code"
                and not keyword_is(node, "trust_remote_code", False)
                for keyword in node.keywords
            )
        ):
            calls.append(f"line {node.lineno}: {ast.unparse(node)}")
    return calls


def test_every_module_lives_in_a_room() -> None:
    lost = {module for module in MODULES if room(module) is None}
    assert lost <= EVERYWHERE | FRONT_DOORS
    assert {room(module) for module in MODULES} - {None} == set(ROOMS)


def test_every_room_is_explained() -> None:
    """CONTRIBUTING's table has each room, or the room that it is a part of."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    missing = [name for name in ROOMS if name.replace(".", "/") not in text]
    assert not missing


@pytest.mark.parametrize("file", [*FILES, ROOT / "lightning_cli.py"], ids=module_name)
def test_nothing_imports_to_its_right(file: Path) -> None:
    module = module_name(file)
    if module == "lightning_cli":
        module = "slifmr_pl.__main__"
    source = file.read_text("utf-8")
    assert not forbidden_imports(source, module, is_package=file.name == "__init__.py")


@pytest.mark.parametrize("file", [*FILES, *SCRIPTS], ids=module_name)
def test_nothing_is_unpickled_evaluated_or_trusted(file: Path) -> None:
    assert not unsafe_calls(file.read_text("utf-8"))


def test_nothing_but_its_own_command_downloads() -> None:
    """Training in particular: `fit` fetches no file of an item."""
    users = {
        module_name(file)
        for file in FILES
        for other in imported_modules(
            ast.parse(file.read_text("utf-8")), module_name(file), file.name == "__init__.py"
        )
        if room(other) == "feature_extraction.downloads"
    }
    assert {room(user) for user in users} == {
        "feature_extraction.downloads",
        "feature_extraction.cli",
    }


def test_no_module_is_called_utils_or_the_like() -> None:
    empty = {"utils", "util", "helpers", "helper", "misc", "common", "manager", "processor"}
    assert not [module for module in MODULES if empty & set(module.split("."))]


def test_no_two_modules_share_a_file_name() -> None:
    """Modules of commands are named after their commands, and may share a name with others."""
    of_commands = "slifmr_pl.cli.commands."
    names = Counter(
        file.stem
        for file in FILES
        if file.stem not in ("__init__", "__main__", "errors")  # one of each package
        and not module_name(file).startswith(of_commands)
    )
    assert not [name for name, count in names.items() if count > 1]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("slifmr_pl.data.reader", "from slifmr_pl.graphs.sparse.edges import Edges"),
        ("slifmr_pl.data.reader", "def f():\n    import slifmr_pl.nn.network"),
        ("slifmr_pl.data.reader", "from ..graphs import neighbours"),
        ("slifmr_pl.data.reader", "from slifmr_pl.data.formats import BUILT_IN"),
        ("slifmr_pl.graphs.sparse.edges", "from slifmr_pl.graphs.neighbours import Neighbours"),
        ("slifmr_pl.graphs.sparse.edges", "from slifmr_pl import module"),
        ("slifmr_pl.graphs.building", "import pytorch_lightning as pl"),
        ("slifmr_pl.nn.network", "from slifmr_pl.losses.objective import Objective"),
        ("slifmr_pl.nn.network", "from pytorch_lightning import LightningModule"),
        ("slifmr_pl.losses.objective", "import slifmr_pl.metrics.ranking_metrics"),
        ("slifmr_pl.metrics.ranking_metrics", "from slifmr_pl.losses import ranking_losses"),
        ("slifmr_pl.serving.service.answers", "from slifmr_pl.serving.export import FORMAT"),
        ("slifmr_pl.serving.service.answers", "import torch"),
        ("slifmr_pl.module", "from slifmr_pl.cli import main"),
        ("slifmr_pl.datamodule", "from slifmr_pl.cli.lightning import SlifMrCLI"),
        ("slifmr_pl.errors", "from slifmr_pl.data.vocabulary import Vocabulary"),
        ("feature_extraction.stores.store", "from slifmr_pl.errors import DataError"),
        ("feature_extraction.items.texts", "from feature_extraction.stores.store import writing"),
    ],
)
def test_import_to_the_right_would_be_seen(module: str, source: str) -> None:
    assert len(forbidden_imports(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("slifmr_pl.data.features", "from feature_extraction import FeatureStore"),
        ("slifmr_pl.data.dataset", "from .split import split_interactions"),
        ("slifmr_pl.losses.objective", "from slifmr_pl.nn.network import SlifMrNetwork"),
        ("slifmr_pl.graphs.item_graphs", "from slifmr_pl.graphs.sparse.edges import Edges"),
        ("slifmr_pl.metrics.ranking_metrics", "from slifmr_pl.graphs.sparse.topk import TopK"),
        ("slifmr_pl.metrics.ranking_metrics", "from torchmetrics import Metric"),
        ("slifmr_pl.graphs.sparse.edges", "from slifmr_pl.errors import ConfigError"),
        ("slifmr_pl.callbacks.results", "from slifmr_pl.datamodule import SlifMrDataModule"),
        ("slifmr_pl.module", "import torch\nfrom slifmr_pl import __version__"),
        ("slifmr_pl.module", "import pytorch_lightning as pl"),
    ],
)
def test_import_to_the_left_would_pass(module: str, source: str) -> None:
    assert not forbidden_imports(source, module)


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "np.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "eval(text)",
        "exec(text)",
        "pickle.load(file)",
        "pickle.loads(data)",
        "from pickle import loads",
        "from torch import load as read",
        "import torch as t",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=config.trust)",
    ],
)
def test_unsafe_call_would_be_seen(source: str) -> None:
    assert len(unsafe_calls(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path, map_location='cpu', weights_only=True)",
        "np.load(path, mmap_mode='r', allow_pickle=False)",
        "model.eval()",
        "import numpy as np",
        "raise pickle.UnpicklingError",
        "AutoModel.from_pretrained(name, trust_remote_code=False)",
    ],
)
def test_safe_call_would_pass(source: str) -> None:
    assert not unsafe_calls(source)
