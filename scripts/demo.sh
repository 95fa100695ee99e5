#!/usr/bin/env bash
# Installs what is missing, configures, builds the command and runs the demo. Arguments go to it (for
# example --tokens 50). Does nothing twice.
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/install_deps.sh >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "== configure" >&2
cmake --preset release >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
echo "== build" >&2
cmake --build --preset release --target cubby_cli >&2
echo "== demo" >&2
rm -f "$log"
exec build/release/bin/cubby demo "$@"
