#!/usr/bin/env bash
# Installs what is missing, configures, builds and runs the tests of the presets release, asan-ubsan
# and tsan.
#   --quick   the preset release alone, without the tests labelled slow or hunt
#   --hunt    the tests labelled hunt too: many seeds of the simulator, every deliberate defect
# Where ccache is installed it is used.
# Other arguments go to ctest (for example -R unit). CUBBY_PRESETS names other presets.
set -euo pipefail
cd "$(dirname "$0")/.."

presets=${CUBBY_PRESETS:-release asan-ubsan tsan}
left_out=hunt
ctest_arguments=()
for argument in "$@"; do
  case $argument in
    --quick) presets=${CUBBY_PRESETS:-release} left_out='hunt|slow' ;;
    --hunt) left_out= ;;
    *) ctest_arguments+=("$argument") ;;
  esac
done
[[ -z $left_out ]] || ctest_arguments+=(-LE "^($left_out)\$")
read -ra presets <<<"$presets"

# What was compiled before with the same sources and flags, in whatever folder, is not compiled again.
if command -v ccache >/dev/null; then
  export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
  export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
fi

./scripts/install_deps.sh --tests
log=$(mktemp)
trap 'rm -f "$log"' EXIT
number=0
for preset in "${presets[@]}"; do
  number=$((number + 1))
  say() { echo "== preset $number of ${#presets[@]}, $preset: $1 (${SECONDS} s since the start)"; }
  say "step 1 of 3, configure"
  cmake --preset "$preset" >"$log" 2>&1 || { cat "$log"; exit 1; }
  say "step 2 of 3, build"
  cmake --build --preset "$preset"
  say "step 3 of 3, test"
  ctest --preset "$preset" "${ctest_arguments[@]}"
done
echo "== all tests passed in $SECONDS s"
