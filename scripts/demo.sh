#!/usr/bin/env bash
# Installs what is missing, builds, and shows stock llama.cpp with a model twice as large as its memory: its own mmap
# beside `cubby run`, in a table and a page. Arguments go to bench/llama_demo.py (for example --tokens 50).
# Where llama.cpp or a limit of memory cannot be had it says so and runs `cubby bench decode`: the same by cubby's own
# decode loop. The first time llama.cpp is fetched from the package registry and compiled. Does nothing twice.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

quietly() { # command...
  "$@" >"$log" 2>&1 || { cat "$log" >&2; return 1; }
}

# llama.cpp as llama-cpp-python is made of it; its packages are in $packages.
get_engine() {
  source scripts/python_wheel.sh
  source scripts/engine_env.sh
  tools_env && engine_env llama_cpp && llama_cpp_sources
}

own_loop() { # why
  echo "demo: $1; instead: cubby bench decode, cubby's own decode loop beside mmap and pread" >&2
  rm -f "$log"
  exec build/release/bin/cubby bench decode
}

./scripts/install_deps.sh >&2
echo "== llama.cpp" >&2
engine=yes
(get_engine) >&2 || engine=
ggml=(-DCUBBY_WITH_GGML=)
if [[ -n $engine ]]; then
  source scripts/engine_env.sh
  llama_cpp_sources
  ggml=("-DCUBBY_WITH_GGML=$llama_sources/ggml")
  packages=$(build/engines/llama_cpp/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
fi
echo "== configure" >&2
quietly cmake --preset release "${ggml[@]}"
echo "== build" >&2
cmake --build --preset release --target cubby_cli ${engine:+cubby_ggml cubby_preload} >&2
[[ -n $engine ]] || own_loop "llama.cpp could not be fetched and compiled (build/engines/logs/llama_cpp-install.log)"
echo "== demo" >&2
status=0
python3 bench/llama_demo.py --cubby build/release/bin/cubby --packages "$packages" "$@" || status=$?
[[ $status -ne 77 ]] || own_loop "there can be no limit of memory"
exit "$status"
