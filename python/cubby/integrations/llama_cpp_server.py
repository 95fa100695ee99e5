"""llama-cpp-python's own server, with its prompt cache in lockers:

    python -m cubby.integrations.llama_cpp_server --kv-path /var/cache/kv --kv-store-bytes 100GiB \\
        --model model.gguf --n_ctx 8192

in place of `python -m llama_cpp.server`, whose options all others are. `cubby run … -- python -m …`
puts the experts of a model in a budget as well. Versions seen: llama-cpp-python 0.3.36. See
docs/llama_cpp.md.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import cubby
from cubby.integrations._blocks import KEEPS, bytes_of


def size(text: str) -> int:
    """Bytes, as "100GiB", "800MiB" or a number of them."""
    try:
        return bytes_of("it", text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size such as 100GiB, 800MiB or 4096"
        ) from None


def parser() -> argparse.ArgumentParser:
    """Of the options that the server itself does not know."""
    made = argparse.ArgumentParser(
        "python -m cubby.integrations.llama_cpp_server",
        usage="%(prog)s --kv-path FOLDER --kv-store-bytes SIZE [--kv-…] OPTIONS of the server",
        description="llama-cpp-python's server, with a prompt cache that outlives it.",
        add_help=False,
        allow_abbrev=False,
    )

    def add(name: str, says: str, default: str | None = None, **how: Any) -> None:
        variable = f"CUBBY_{name.upper().replace('-', '_')}"
        value = os.environ.get(variable) or default
        says += f" (or {variable}{'; ' + default if default else ''})"
        made.add_argument(f"--{name}", default=value, required=value is None, help=says, **how)

    add("kv-path", "folder of the store, made where it is missing; one server's", metavar="FOLDER")
    add("kv-store-bytes", "bytes of disk, taken at once", type=size, metavar="SIZE")
    add("kv-host-bytes", "memory for blocks", "256MiB", type=size, metavar="SIZE")
    add("kv-block-tokens", "tokens of a block", "64", type=int, metavar="COUNT")
    add("kv-keep", "what blocks outlive", "restart", choices=KEEPS)
    add("kv-identity", "text that tells equal files apart", "", metavar="TEXT")
    return made


class CachedModels:
    """Loads the models of a server, which has one at a time, and gives each a LockerCache."""

    def __init__(
        self,
        load: Callable[[Any], Any],
        make_cache: Callable[[Any], Any],
        log: logging.Logger,
    ) -> None:
        self._load, self._make_cache, self._log = load, make_cache, log
        self._cache: Any = None

    def __call__(self, settings: Any) -> Any:
        """In the place of LlamaProxy.load_llama_from_model_settings()."""
        self.close()
        # The server's default is True, which alone stands in a prompt cache's way.
        changes = {} if "logits_all" in settings.model_fields_set else {"logits_all": False}
        if settings.cache:
            self._log.warning("cubby: cache: %s has cubby's, not the one asked for", settings.model)
        model = self._load(settings.model_copy(update={"cache": False, **changes}))
        try:
            self._cache = self._make_cache(model)
        except (cubby.CubbyError, OSError) as error:
            self._log.error(
                "cubby: the prompt cache is off, %s goes on without it: %s", settings.model, error
            )
            return model
        model.set_cache(self._cache)
        self._log.info("cubby: prompt cache of %s at %s", settings.model, self._cache.describe())
        return model

    def close(self) -> None:
        """Ends the cache of the model that was loaded before."""
        cache, self._cache = self._cache, None
        if cache is not None:
            cache.close()


def _logger() -> logging.Logger:
    """Lines on stderr from the start; the server's own logger is set up once models are loaded."""
    log = logging.getLogger("cubby.llama_cpp_server")
    if not log.handlers:
        log.addHandler(logging.StreamHandler())
        log.setLevel(logging.INFO)
        log.propagate = False
    return log


def _server() -> Any:
    try:
        return importlib.import_module("llama_cpp.server.__main__")
    except ImportError as error:
        sys.exit(
            "cubby.integrations.llama_cpp_server needs llama-cpp-python with its server (seen: "
            f"0.3.36), pip install 'llama-cpp-python[server]': {error}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the server."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help"} & set(words):
        parser().print_help()
        print("\nand those of the server:\n", flush=True)
        given = None
    else:
        given, words = parser().parse_known_args(words)
        if given.kv_keep not in KEEPS:  # argparse does not hold a default against its choices
            parser().error(f"CUBBY_KV_KEEP: {given.kv_keep!r} is none of {', '.join(KEEPS)}")
    server = _server()
    sys.argv = [sys.argv[0], *words]
    if given is None:
        server.main()
        return
    from cubby.integrations.llama_cpp_cache import LockerCache

    log = _logger()
    proxy = importlib.import_module("llama_cpp.server.model").LlamaProxy

    def make_cache(model: Any) -> LockerCache:
        return LockerCache(
            model,
            given.kv_path,
            given.kv_store_bytes,
            given.kv_host_bytes,
            block_tokens=given.kv_block_tokens,
            keep=given.kv_keep,
            identity=given.kv_identity,
            log=log,
        )

    models = CachedModels(proxy.load_llama_from_model_settings, make_cache, log)
    proxy.load_llama_from_model_settings = staticmethod(models)
    try:
        server.main()
    finally:
        models.close()


if __name__ == "__main__":
    main()
