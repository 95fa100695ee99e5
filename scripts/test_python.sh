#!/usr/bin/env bash
# Builds the Python package and runs its tests, in a virtual environment under build/python-venv.
#   --build-only   builds it and runs nothing
#   --bench        prints what a call costs from Python beside C, too
# Links the library of build/release where there is one, so that it is not compiled twice. Other
# arguments go to pytest. Exit status 77: skipped, because the package registry does not answer.
set -euo pipefail
cd "$(dirname "$0")/.."

bench= build_only=
arguments=()
for argument in "$@"; do
  case $argument in
    --bench) bench=1 ;;
    --build-only) build_only=1 ;;
    *) arguments+=("$argument") ;;
  esac
done

# The headers and venv of the interpreter that python3 is; Debian has them in packages of their own.
if ! python3 - <<'CHECK'; then ./scripts/install_deps.sh --python; fi
import ensurepip, os, sysconfig, venv
assert os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
CHECK

venv=build/python-venv
if ! "$venv/bin/python" -c 'import nanobind, pytest' 2>/dev/null; then
  echo "test_python: making the environment $venv"
  python3 -m venv "$venv"
  if ! "$venv/bin/pip" install -q nanobind pytest ruff; then
    echo "test_python: skipped: the packages nanobind, pytest and ruff could not be fetched" >&2
    exit 77
  fi
fi

given=()
if [[ -f build/release/lib/libcubby.a ]]; then
  given=("-DCUBBY_LIBRARY=$PWD/build/release/lib/libcubby.a")
fi
cmake -S python -B build/python-ext -G Ninja -DCMAKE_BUILD_TYPE=Release \
  "-DPython_EXECUTABLE=$PWD/$venv/bin/python" "${given[@]}" >/dev/null
cmake --build build/python-ext
[[ -z $build_only ]] || exit 0

export PYTHONPATH=$PWD/build/python-ext/stage
for command in build/release/bin/cubby build/python-ext/cubby/bin/cubby; do
  if [[ -x $command ]]; then export CUBBY_COMMAND=$PWD/$command; fi
done
"$venv/bin/ruff" check -q python
"$venv/bin/ruff" format -q --check python
"$venv/bin/python" -m pytest -q -p no:cacheprovider python/tests "${arguments[@]}"
if [[ -n $bench ]]; then "$venv/bin/python" python/bench/call_cost.py; fi
