"""What is imported when: at once, on demand, and for the command line nothing heavy."""

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import keras_kd

PACKAGE = Path(keras_kd.__file__).parent
# Each backend's own file imports that backend.
OF_ONE_BACKEND = {"keras_kd.backend.jax", "keras_kd.backend.tensorflow"}
OF_ONE_BACKEND |= {"keras_kd.backend.tf_data", "keras_kd.backend.torch"}
HEAVY = "keras numpy scipy tensorflow torch jax matplotlib"


def modules_of(package):
    """The modules of a package that are not packages, with what is below."""
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        if not parts[-1].startswith("__"):
            yield ".".join(parts)


MODULES = [name for name in modules_of(PACKAGE) if name not in OF_ONE_BACKEND]


def run(*args):
    return subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )


ALL_MODULES = """
import importlib, json, sys
import keras
before = set(sys.modules)
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print("tensorflow" in sys.modules)
print(json.dumps(sorted({n.split(".")[0] for n in set(sys.modules) - before})))
"""


def test_no_module_brings_in_what_a_user_may_not_have():
    """Neither another backend nor what only extras install, which functions import."""
    made = run("-c", ALL_MODULES, json.dumps(MODULES))
    assert made.returncode == 0, made.stderr
    new = set(json.loads(made.stdout.splitlines()[-1]))
    extras = {"matplotlib", "tensorflow_datasets", "grain", "keras_cv", "pandas", "PIL"}
    assert "keras_kd" in new
    assert not new & (extras | {"sklearn"})
    # Keras itself may have imported jax, whatever the backend; not TensorFlow.
    if keras.backend.backend() != "tensorflow":
        assert made.stdout.splitlines()[-2] == "False"


REACHED = (
    *("backend", "callbacks", "cli", "complexity", "datasets", "distiller"),
    *("experiments", "files", "forward", "losses", "metrics", "models", "ntk"),
    *("outputs", "plots", "progress", "teachers", "version"),
    # Also what lies deeper, and nothing else imports.
    *("experiments.studies.runner", "experiments.reports.figures", "datasets.tfds"),
    *("complexity.ranking.report", "complexity.solvers.cholesky", "forward.taps"),
    *("teachers.cache.build", "teachers.trajectory.reader", "ntk.kernel"),
)


@pytest.mark.one_backend
def test_modules_are_attributes():
    """After `import keras_kd` alone, in a process that has imported nothing else."""
    code = "import keras_kd\n" + "".join(
        f"assert keras_kd.{path}.__name__ == 'keras_kd.{path}'\n" for path in REACHED
    )
    made = run("-c", code)
    assert made.returncode == 0, made.stderr


def test_names_complete_with_the_tab_key():
    listed = set(dir(keras_kd))
    assert set(keras_kd.__all__) <= listed
    files = {file.stem for file in PACKAGE.glob("*.py")} - {"__init__"}
    packages = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    assert files | packages <= listed
    assert set(keras_kd.experiments.__all__) <= set(dir(keras_kd.experiments))
    assert {"runner", "recipe"} <= set(dir(keras_kd.experiments.studies))
    assert {"report", "figures"} <= set(dir(keras_kd.experiments.reports))
    assert {"tfds", "load"} <= set(dir(keras_kd.datasets))


@pytest.mark.parametrize(
    "module", ["keras_kd", "keras_kd.experiments", "keras_kd.experiments.studies"]
)
def test_an_unknown_name(module):
    message = f"module '{module}' has no attribute 'nothing'"
    with pytest.raises(AttributeError, match=message):
        importlib.import_module(module).nothing  # noqa: B018
    assert not hasattr(importlib.import_module(module), "__wrapped__")
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec(f"from {module} import nothing")


@pytest.mark.parametrize("package", [keras_kd, keras_kd.experiments])
def test_type_checkers_see_what_runs(package):
    """`__all__`, the imports for type checkers and the names on demand are the same."""
    tree = ast.parse(Path(package.__file__).read_text())
    homes = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for name in package.__all__:
        found = getattr(package, name)
        assert getattr(importlib.import_module(homes[name]), name) is found


COMMANDS = f"""
import json, sys
from keras_kd.cli import app
import typer
heavy = {HEAVY.split()}

def paths(command, path=()):
    yield path
    for name, inner in getattr(command, "commands", {{}}).items():
        yield from paths(inner, (*path, name))

def call(*args):
    try:
        app(list(args), prog_name="keras-kd")
    except SystemExit as exit:
        code = exit.code
    loaded = [name for name in heavy if name in sys.modules]
    print("called", json.dumps([args, code, loaded]))

for path in paths(typer.main.get_command(app)):
    call(*path, "--help")
    call(*path, "--no-such-option")
for args in json.loads(sys.argv[1]):
    call(*args)
"""


@pytest.mark.once
def test_help_and_refusals_do_not_wait_for_keras(tmp_path):
    """Each command in a process that is called as the command is."""
    script = tmp_path / "keras-kd"
    script.write_text(COMMANDS)
    wrong = [
        ["run", "no-such-recipe"],
        ["run", "digits", "--set", "epochs=x"],
        ["distill", "out", "--mode", "online"],
        ["distill", "out", "--mode", "none", "--alpha", "0.5"],
        ["train-teacher", "out", "--network", "no-such-network"],
        ["train-teacher"],
        ["cache", "build"],
        [],
    ]
    made = run(str(script), json.dumps(wrong))
    assert made.returncode == 0, made.stderr
    called = [
        json.loads(line.removeprefix("called "))
        for line in made.stdout.splitlines()
        if line.startswith("called ")
    ]
    assert [args for args, _, loaded in called if loaded] == []
    helps = [(args, code) for args, code, _ in called if "--help" in args]
    assert {code for _, code in helps} == {0}
    assert {" ".join(args[:-1]) for args, _ in helps} == {
        *("", "train-teacher", "distill", "evaluate", "compare-teachers", "demo"),
        *("cache", "cache build", "cache info", "cache verify"),
        *("recipes", "run", "report", "compare-studies"),
    }
    assert {code for args, code, _ in called if "--help" not in args} == {2}


@pytest.mark.once
@pytest.mark.parametrize("option", ["-m", "-mkeras_kd.cli"])
def test_as_a_module(option):
    name = ["keras_kd.cli"] if option == "-m" else []
    made = run("-X", "importtime", option, *name, "cache", "--help")
    assert made.returncode == 0, made.stderr
    assert "Usage: keras-kd cache" in made.stdout
    imported = {line.split("|")[-1].strip() for line in made.stderr.splitlines()}
    assert "keras_kd.cli.commands" in imported
    assert not imported & set(HEAVY.split())


@pytest.mark.once
def test_plots_wait_for_matplotlib():
    code = (
        "import sys; sys.argv = ['keras-kd']; import keras_kd; keras_kd.plots\n"
        "print('numpy' in sys.modules, 'matplotlib' in sys.modules)"
    )
    assert run("-c", code).stdout.split() == ["True", "False"]


REGISTERED = """
import json, sys
sys.argv[0] = sys.argv[1]
import keras_kd
assert ("keras" in sys.modules) == (sys.argv[1] != "keras-kd")
if sys.argv[1] == "keras-kd":
    import keras_kd.registration
    assert keras_kd.Distiller is keras_kd.distiller.Distiller
import keras
names = keras.saving.get_custom_objects()
print(json.dumps(sorted(name for name in names if name.startswith("keras_kd>"))))
"""


@pytest.mark.one_backend
def test_a_command_that_loads_a_file_knows_every_class():
    library, command = (
        json.loads(run("-c", REGISTERED, name).stdout.splitlines()[-1])
        for name in ("script.py", "keras-kd")
    )
    assert command == library
    of_each_kind = {"Distiller", "SoftTargets", "Fidelity", "SupervisionCache"}
    assert {f"keras_kd>{name}" for name in of_each_kind} <= set(library)
