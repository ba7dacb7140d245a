"""What a module imports, and which private names it uses, read from its text."""

from __future__ import annotations

import ast
from pathlib import Path


def imports(path: Path, package: str = "") -> set[str]:
    """Every module that the file at ``path`` names in an import, inside functions too.

    A name taken from a module counts as ``module.name``, because it may be a module itself.
    ``package`` is what a relative import starts from. Calls of ``import_module`` with a literal
    count.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = (
                package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            )
            start = ".".join([*parents, *([node.module] if node.module else [])])
            found |= {f"{start}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "import_module",
            "__import__",
        ):
            found |= {
                str(given.value) for given in node.args[:1] if isinstance(given, ast.Constant)
            }
    return found


NAMED_TUPLE = {"_replace", "_fields", "_asdict", "_make"}
"""Public, though they do not look it."""


def private_names(path: Path) -> set[str]:
    """Every private name in an import, of an argument, or of an object other than ``self`` and
    ``cls`` that the file at ``path`` uses."""
    found = {name for name in imports(path) if any(map(is_private, name.split(".")))}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.keyword) and is_private(node.arg or ""):
            found.add(str(node.arg))
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = ast.unparse(node.value)
            found |= {f"{owner}.{node.attr}"} if owner not in ("self", "cls") else set()
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLE
