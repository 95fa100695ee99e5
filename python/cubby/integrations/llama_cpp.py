"""llama-cpp-python: the experts of a model in a fixed budget of host memory.

    from cubby.integrations import llama_cpp as cubby_llama
    cubby_llama.use(host_budget="12GiB")        # before the first model is loaded
    model = llama_cpp.Llama("model.gguf", use_mmap=True)

`cubby run --host-budget 12GiB -- python program.py` does the same without a change to the program,
and keeps llama.cpp from reading the whole file at its start. See docs/llama_cpp.md.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

LIBRARY = "libggml-cubby.so"


def _library(named: str | os.PathLike[str] | None) -> Path:
    folder = os.environ.get("CUBBY_LIBRARY_DIR")
    for place in (named, os.environ.get("GGML_BACKEND_PATH"), folder and Path(folder) / LIBRARY):
        if place is None or place == "":
            continue
        if Path(place).is_file():
            return Path(place)
        raise FileNotFoundError(f"{place} is not there: name {LIBRARY} as it was built")
    raise FileNotFoundError(
        f"{LIBRARY} is unknown: pass library=, or set GGML_BACKEND_PATH; it is built with "
        "-DCUBBY_WITH_GGML=<ggml's sources>"
    )


def use(
    host_budget: int | str | None = None, library: str | os.PathLike[str] | None = None
) -> Path:
    """Loads the backend into the ggml of llama_cpp and gives its path.

    host_budget: memory for experts, in bytes or as "12GiB"; without it CUBBY_HOST_BUDGET, else half
    of what there is. RuntimeError where the backend refuses; the reason is on stderr.
    """
    path = _library(library)
    import llama_cpp

    if host_budget is not None:
        os.environ["CUBBY_HOST_BUDGET"] = str(host_budget)
    # Looked up behind libllama: a second copy of libggml beside it would have its own registry.
    load = llama_cpp.llama_cpp._lib.ggml_backend_load
    load.restype = ctypes.c_void_p
    load.argtypes = [ctypes.c_char_p]
    if not load(os.fsencode(path)):
        raise RuntimeError(f"ggml did not take {path}; models are loaded as without it")
    return path
