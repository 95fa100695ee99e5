#!/usr/bin/env bash
# Proves cubby's adapter in the real vLLM, on the CPU: makes build/engines/vllm with pinned packages (slim:
# the CUDA toolkit's libraries have to be on the machine), starts engines in it and prints one JSON
# object of what was seen and measured. Exit status 0: all seen; 1: not; 77: skipped, with a sentence.
set -euo pipefail
cd "$(dirname "$0")/../.."
source python/proofs/engine_env.sh
engine_env vllm
unset PYTHONPATH
exec nice -n 10 "$python" python/proofs/vllm_proof.py build/engines "$@"
