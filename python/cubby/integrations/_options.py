"""Options of the adapters by their names: one that is misspelt is not taken for one left out."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def near(name: str, known: Iterable[str]) -> str:
    """What was likely meant by a name that is not known; "" where nothing is like it."""
    plain = name.lower().replace("-", "_")
    return next(iter(difflib.get_close_matches(plain, list(known), n=1, cutoff=0.75)), "")


def unknown_option(name: str, known: Iterable[str]) -> str:
    """The sentence that refuses it."""
    listed = list(known)
    meant = near(name, listed)
    hint = f"did you mean {meant}?" if meant else f"there are {', '.join(listed)}"
    return f"cubby: there is no option {name!r}; {hint}"


def options_by_name(init: Callable[..., None]) -> Callable[..., None]:
    """An __init__ whose keyword arguments come out of a configuration: what it does not take is a
    TypeError that says what was likely meant."""
    parameters = [one for one in inspect.signature(init).parameters.values() if one.name != "self"]
    alone = [one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY]
    known = [one.name for one in parameters]

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **options: Any) -> None:
        for name in options:
            if name not in known:
                raise TypeError(unknown_option(name, alone or known))
        init(self, *args, **options)

    return checked
