"""What an adapter takes from its engine, and what it says where it is not there."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Engine:
    """An engine as its adapter sees it."""

    name: str  # as its users write it
    package: str  # of Python
    adapter: str  # our module
    seen: str  # the version that the adapter was run with
    needs: str  # "It needs ..."
    remedy: str  # "Install one that has it, or ..."

    def version(self) -> str:
        """Of the engine that is installed."""
        try:
            return str(importlib.import_module(self.package).__version__)
        except (ImportError, AttributeError):
            return "of an unknown version"

    def refuse(self, missing: str) -> ImportError:
        """What to raise where this version lacks something."""
        return ImportError(
            f"{self.adapter}: {missing}. It needs {self.needs}, as {self.name} {self.seen} has "
            f"it; installed is {self.name} {self.version()}. Install one that has it, or "
            f"{self.remedy}."
        )

    def take(self, module: str, *names: str) -> list[Any]:
        """Those names of a module of the engine, or an error that says which are missing."""
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            raise self.refuse(f"the module {module} cannot be imported ({error})") from error
        missing = [name for name in names if not hasattr(found, name)]
        if missing:
            raise self.refuse(f"{module} lacks {', '.join(missing)}")
        return [getattr(found, name) for name in names]

    def refuse_abstract(self, adapter: type, what: str) -> None:
        """Raises where a class of ours leaves calls of the engine's interface undefined."""
        missing = sorted(getattr(adapter, "__abstractmethods__", ()))
        if missing:
            raise self.refuse(f"its {what} calls that are not known here: {', '.join(missing)}")


def take_if(module: str, name: str) -> Any:
    """The same name of a module, or None where it is not there."""
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
