"""Finds the benchmarks of the package by their one function, without importing them."""

import ast
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from benchmarks.harness import Report
from benchmarks.settings import Settings

HOOK = "benchmark"


def summaries() -> dict[str, str]:
    """First docstring line of each benchmark, by name."""
    by_name = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == HOOK for node in tree.body):
            by_name[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return by_name


def load(name: str) -> Callable[[Settings], Iterator[Report]]:
    """The function of a benchmark that `summaries` names."""
    function: Callable[[Settings], Iterator[Report]] = getattr(
        import_module(f"benchmarks.{name}"), HOOK
    )
    return function
