#!/usr/bin/env bash
# Installs what is missing, configures, builds and runs every test. Arguments go to ctest (for example -R unit).
# CUBBY_PRESETS chooses the presets, default "release asan-ubsan tsan".
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/install_deps.sh
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for preset in ${CUBBY_PRESETS:-release asan-ubsan tsan}; do
  echo "== $preset: configure"
  cmake --preset "$preset" >"$log" 2>&1 || { cat "$log"; exit 1; }
  echo "== $preset: build"
  cmake --build --preset "$preset"
  echo "== $preset: test"
  ctest --preset "$preset" "$@"
done
