#!/usr/bin/env bash
# Installs what is missing, configures, builds and runs every test. Arguments go to ctest (for example -R unit).
# CUBBY_PRESETS chooses the presets, default "release asan-ubsan tsan".
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/install_deps.sh
for preset in ${CUBBY_PRESETS:-release asan-ubsan tsan}; do
  echo "== $preset: configure"
  cmake --preset "$preset" >"/tmp/cubby-configure-$$.log" 2>&1 || { cat "/tmp/cubby-configure-$$.log"; exit 1; }
  rm -f "/tmp/cubby-configure-$$.log"
  echo "== $preset: build"
  cmake --build --preset "$preset"
  echo "== $preset: test"
  ctest --preset "$preset" "$@"
done
