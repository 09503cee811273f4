"""The rules of the house: where imports may lead, and what a file may be.

Read off the source: nothing here depends on a backend.
"""

import ast
import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import keras_kd

pytestmark = pytest.mark.once

ROOT = Path(keras_kd.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# Rooms, the lowest first; a file may import from rooms below its own, and from its own.
# What stands on one line does not know of each other.
FLOORS = [
    [
        "arguments",
        "files",
        "keras_internals",
        "lazy",
        "plotted",
        "progress",
        "startup",
        "version",
        "written",
    ],
    ["backend"],
    ["outputs", "forward"],
    ["losses", "metrics", "teachers"],
    ["ntk", "distiller"],
    ["complexity"],
    ["callbacks"],
    ["experiments"],
    ["registration"],
    ["cli"],
]
# They know arrays and Keras, and of this package nothing but how to check an argument.
LEAVES = ["models", "datasets", "plots"]
LEAVES_MAY_IMPORT = {*FLOORS[0], "backend"}
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
# Within complexity: the report on teachers stands on the measure, not the reverse.
INNER = {"complexity": ["", "ranking"], "experiments": ["", "studies", "reports"]}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imports_of(path: Path):
    """Modules of this package that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in inner]
        else:
            continue
        yield from (n for n in names if n.split(".")[0] == "keras_kd")


def room_of(module: str) -> str:
    return [*module.split("."), ""][1]


GRAPH = {module: set(imports_of(path)) for module, path in MODULES.items()}


@pytest.mark.parametrize("module", MODULES)
def test_arrows_point_down(module):
    room = room_of(module)
    if room == "":  # the package itself: it shows what is inside
        return
    for other in GRAPH[module]:
        target = room_of(other)
        if target == room or target == "":
            continue
        if room in LEAVES:
            assert target in LEAVES_MAY_IMPORT, f"{module} -> {other}"
        elif target in LEAVES:
            continue  # everybody may look at a leaf
        else:
            assert FLOOR[target] < FLOOR[room], f"{module} -> {other}"


def test_plots_are_drawn_from_arrays_alone():
    assert GRAPH["keras_kd.plots"] <= {"keras_kd.arguments", "keras_kd.plotted"}


def test_no_circles():
    """None between files either, packages' own `__init__`s counted as their files."""
    seen: dict[str, int] = {}
    path: list[str] = []

    def visit(module):
        if module in path:
            circle = path[path.index(module) :]
            raise AssertionError(" -> ".join([*circle, module]))
        if module in seen:
            return
        path.append(module)
        for other in sorted(GRAPH.get(module, ())):
            # A package shows what its files hold; that is no arrow of these files.
            if not module.startswith(f"{other}.") and other != "keras_kd":
                visit(other)
        path.pop()
        seen[module] = 1

    for module in MODULES:
        visit(module)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_are_short_enough_to_be_read(path):
    assert len(path.read_text().splitlines()) <= 450


def test_nobody_asks_what_kind_of_supervisor_it_is():
    kinds = "LiveTeacher|CachedTeacher|TrainedAlong|CheaperTeacher|Supervisor"
    asked = re.compile(rf"isinstance\([^()]*,[^()]*\b({kinds})\b")
    assert [p for p in FILES if asked.search(p.read_text())] == []


def test_no_function_hides_its_module():
    hidden = []
    for module in MODULES:
        if MODULES[module].name != "__init__.py":
            continue
        package = importlib.import_module(module)
        for info in pkgutil.iter_modules(package.__path__):
            value = getattr(package, info.name, None)
            if value is not None and not isinstance(value, ModuleType):
                hidden.append(f"{module}.{info.name}")
    assert hidden == []


def test_public_names_are_annotated():
    """All arguments and results of what can be imported without an underscore."""
    missing = []
    for path in FILES:
        tree = ast.parse(path.read_text())
        classes = [n for n in tree.body if isinstance(n, ast.ClassDef)]
        public = [c for c in classes if not c.name.startswith("_")]
        functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
        functions += [
            n for c in public for n in c.body if isinstance(n, ast.FunctionDef)
        ]
        for function in functions:
            name = function.name
            if name.startswith("_") and name != "__init__":
                continue
            arguments = function.args
            given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            given += [a for a in (arguments.vararg, arguments.kwarg) if a]
            bare = [
                a.arg
                for a in given
                if a.annotation is None and a.arg not in ("self", "cls")
            ]
            if bare or (function.returns is None and name != "__init__"):
                missing.append(f"{module_of(path)}.{name}: {bare}")
    assert missing == []
