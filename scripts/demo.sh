#!/usr/bin/env bash
# Installs what is missing, builds, and shows stock llama.cpp with a model twice as large as its memory: its own mmap
# beside `cubby run`, in a table and a page. Arguments go to bench/llama_demo.py (for example --tokens 50).
# Where llama.cpp or a limit of memory cannot be had it says so and runs `cubby bench decode`: the same by cubby's own
# decode loop. The first time llama.cpp is fetched from the package registry and compiled. Does nothing twice.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Else bash goes on where what it waits for takes a signal of the terminal for an error of its own.
trap 'exit 130' INT
trap 'exit 143' TERM

quietly() { # command...
  "$@" >"$log" 2>&1 || { cat "$log" >&2; return 1; }
}

# llama.cpp as llama-cpp-python is made of it; its packages are in $packages.
get_engine() {
  source scripts/python_wheel.sh
  source scripts/engine_env.sh
  tools_env && engine_env llama_cpp && llama_cpp_sources
}

# Of the arguments, --tokens alone means something to it.
own_loop() { # why
  local tokens=() left_out=()
  while [[ ${#given[@]} -gt 0 ]]; do
    case ${given[0]} in
      --tokens) tokens=("${given[@]:0:2}") given=("${given[@]:1}") ;;
      --tokens=*) tokens=("${given[0]}") ;;
      *) left_out+=("${given[0]}") ;;
    esac
    given=("${given[@]:1}")
  done
  echo "demo: $1; instead: cubby bench decode${tokens[*]:+ ${tokens[*]}}, cubby's own decode loop beside mmap and pread" >&2
  [[ ${#left_out[@]} -eq 0 ]] || echo "demo: left out, for it has no such arguments: ${left_out[*]}" >&2
  rm -f "$log"
  exec build/release/bin/cubby bench decode "${tokens[@]}"
}

given=("$@")
./scripts/install_deps.sh >&2
engine=yes why="" probed=0
python3 bench/llama_demo.py --probe "$@" 2>"$log" || probed=$?
case $probed in
  0) ;;
  77) engine="" why=$(tail -n 1 "$log") ;;
  *) cat "$log" >&2; exit "$probed" ;; # an argument that it does not take
esac
if [[ -n $engine ]]; then
  echo "== llama.cpp" >&2
  (get_engine) >&2 ||
    engine="" why="llama.cpp could not be fetched and compiled (build/engines/logs/llama_cpp-install.log)"
fi
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
[[ -n $engine ]] || own_loop "${why#llama_demo: }"
echo "== demo" >&2
rm -f "$log"
# In place of this shell, so that signals are its own.
exec python3 bench/llama_demo.py --cubby build/release/bin/cubby --packages "$packages" "$@"
