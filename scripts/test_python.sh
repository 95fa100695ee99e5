#!/usr/bin/env bash
# Builds the Python package as a wheel, installs it into build/python-venv and runs its tests there.
#   --bench   prints what a call costs from Python beside C, too
# Other arguments go to pytest. Exit status 77: skipped, because the package registry does not answer.
set -euo pipefail
cd "$(dirname "$0")/.."

bench=
arguments=()
for argument in "$@"; do
  case $argument in
    --bench) bench=1 ;;
    *) arguments+=("$argument") ;;
  esac
done

source scripts/python_wheel.sh
tools_env
cubby_wheel
install_wheel "$tools"

if [[ -x build/release/bin/cubby ]]; then export CUBBY_COMMAND=$PWD/build/release/bin/cubby; fi
if [[ -f build/release/tests/fake_driver/libcuda.so.1 ]]; then
  export CUBBY_FAKE_CUDA=${CUBBY_FAKE_CUDA:-$PWD/build/release/tests/fake_driver}
fi
"$tools/bin/ruff" check -q python
"$tools/bin/ruff" format -q --check python
"$tools/bin/python" -m pytest -q -p no:cacheprovider python/tests "${arguments[@]}"
if [[ -n $bench ]]; then "$tools/bin/python" python/bench/call_cost.py; fi
