"""Names of a package that are imported when they are first asked for."""

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Mapping
from typing import Any


def on_demand(
    package: str, homes: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__` (PEP 562).

    All its modules are attributes, whether they are imported yet or not, and so are the
    names in `homes`.

    Args:
        package: its `__name__`.
        homes: for a name that is not there yet the module of the package that has it.
    """
    homes = homes or {}

    def __getattr__(name: str) -> Any:
        if name in homes:
            value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
            # The next time it is found without this function.
            setattr(sys.modules[package], name, value)
            return value
        module = f"{package}.{name}"
        # What tools look for on any object, such as __wrapped__, is no module.
        if not name.startswith("_") and importlib.util.find_spec(module):
            return importlib.import_module(module)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        here = sys.modules[package]
        modules = (module.name for module in pkgutil.iter_modules(here.__path__))
        return sorted({*vars(here), *homes, *modules})

    return __getattr__, __dir__
