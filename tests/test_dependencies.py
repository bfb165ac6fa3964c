"""Each stage's imports against its `deps` in dvc.yaml: a module that a stage runs and DVC does not watch goes stale."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

UNWATCHED = {
    "src/command.py",
    "src/files.py",
    "src/params.py",
    "src/paths.py",
    "src/settings.py",
    "src/parallel.py",
    "src/tables.py",
}
"""What carries settings, files and log lines about, as the folders below do, and has no part in what they say."""

UNWATCHED_FOLDERS = ("src/fetching/", "src/serving/", "src/tracking/")


def imported(module: Path) -> set[Path]:
    """The files of this project that `module` imports itself, also inside functions; not for type checkers only."""
    found = set()
    for node in ast.walk(_without_type_checking(ast.parse(module.read_text()))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "src":
            base = ROOT / node.module.replace(".", "/")
            found |= {base / f"{alias.name}.py" for alias in node.names} | {base.with_suffix(".py")}
    return {path for path in found if path.exists()}


def _without_type_checking(tree: ast.Module) -> ast.Module:
    tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING")]
    return tree


def closure(module: Path) -> set[str]:
    """All files of this project that run when `module` does."""
    seen, left = set(), [module]
    while left:
        path = left.pop()
        name = path.relative_to(ROOT).as_posix()
        if name not in seen and name not in UNWATCHED and not name.startswith(UNWATCHED_FOLDERS):
            seen.add(name)
            left += imported(path)
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_what_the_stage_imports(stage: str):
    module = STAGES[stage]["cmd"].removeprefix("python -m ").replace(".", "/") + ".py"
    deps = [dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")]
    needed = closure(ROOT / module)
    unwatched = {name for name in needed if not any(name == dep or name.startswith(f"{dep}/") for dep in deps)}
    assert unwatched == set()
    modules = [dep for dep in deps if not dep.endswith((".css", ".html"))]
    idle = [dep for dep in modules if not any(name == dep or name.startswith(f"{dep}/") for name in needed)]
    assert idle == []


def test_stages_never_import_each_other():
    modules = {ROOT / "src" / f"{stage}.py" for stage in STAGES}
    for module in modules:
        assert imported(module) & modules == set()
