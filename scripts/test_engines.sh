#!/usr/bin/env bash
# Proves the adapters in the real engines, on the CPU, and prints a table.
#   test_engines.sh [--quick] [lmcache] [transformers] [vllm] [sglang] [llama_cpp]
# Without names: all five. llama.cpp is compiled the first time, for some minutes.
# --quick: without the proof in little memory, which takes minutes and 2.5 GB of disk.
# Each engine has a virtual environment under build/engines, with the versions that
# python/proofs/ENGINE_lock.txt pins; it stays there for the next run. What could not be
# fetched from the package registry is skipped, and says so. Exit status: 0 all passed, 1 one failed,
# 77 none failed and at least one was skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=
engines=()
for argument in "$@"; do
  if [[ $argument == --quick ]]; then quick=1; else engines+=("$argument"); fi
done
[[ ${#engines[@]} -gt 0 ]] || engines=(lmcache transformers vllm sglang llama_cpp)
for engine in "${engines[@]}"; do
  case $engine in
    lmcache | transformers | vllm | sglang | llama_cpp) ;;
    *)
      echo "test_engines: '$engine' is not one of lmcache, transformers, vllm, sglang and llama_cpp" >&2
      exit 2
      ;;
  esac
done

root=$PWD/build/engines
mkdir -p "$root/logs"
results=()
failed=0 skipped=0
export HF_HUB_OFFLINE=1

report() { # engine, what, result
  results+=("$(printf '%-14s %-52s %s' "$1" "$2" "$3")")
  echo "== $1: $2: $3"
  case $3 in
    skipped*) skipped=1 ;;
    FAILED*) failed=1 ;;
  esac
}

# The environment of an engine, made once for a list of requirements.
environment() { # engine
  local list=python/proofs/$1_lock.txt stamp=$root/$1/installed
  if [[ -f $stamp ]] && cmp -s "$list" "$stamp"; then return 0; fi
  echo "== $1: installing $(grep -c == "$list") packages into build/engines/$1"
  [[ -x $root/$1/bin/pip ]] || python3 -m venv "$root/$1"
  if [[ $1 == llama_cpp ]]; then export CMAKE_ARGS="-DLLAVA_BUILD=OFF" CMAKE_BUILD_PARALLEL_LEVEL=2; fi
  "$root/$1/bin/pip" install -q --no-deps -r "$list" >"$root/logs/$1-install.log" 2>&1 || return 1
  cp "$list" "$stamp"
}

# Runs a step with its output in a log; its last lines are shown where it failed.
step() { # engine, what, command...
  local engine=$1 what=$2
  shift 2
  local log=$root/logs/$engine-${what//[^a-z0-9]/-}.log
  local status=0
  "$@" >"$log" 2>&1 || status=$?
  if [[ $status -eq 0 ]]; then
    report "$engine" "$what" "passed"
  elif [[ $status -eq 77 ]]; then
    report "$engine" "$what" "skipped: $(tail -n 1 "$log")"
  else
    tail -n 40 "$log"
    report "$engine" "$what" "FAILED, see ${log#"$PWD/"}"
  fi
}

prove_lmcache() {
  local python=$root/lmcache/bin/python table=$root/logs/lmcache-l2.json
  step lmcache "the contract of the connector" \
    "$python" -m pytest -q -p no:cacheprovider python/tests/test_lmcache_connector.py
  step lmcache "bench l2, verified, beside its own file adapters" \
    "$python" python/proofs/lmcache_l2.py --folder "$root/lmcache-l2" --json "$table"
  cat "$root/logs/lmcache-bench-l2--verified--beside-its-own-file-adapters.log"
}

prove_transformers() {
  local python=$root/transformers/bin/python
  step transformers "logits of four architectures <= 1e-5, same tokens" \
    "$python" -m pytest -q -s -p no:cacheprovider python/tests/test_transformers_experts.py
  grep -h 'largest difference' "$root"/logs/transformers-logits*.log || true
  [[ -z $quick ]] || return 0
  step transformers "in half of its memory, 4 x accelerate's offload" \
    "$python" python/proofs/transformers_offload.py --folder "$root/offload"
  grep -h '^offload:' "$root"/logs/transformers-in-half*.log || true
}

prove_vllm() {
  local python=$root/vllm/bin/python
  step vllm "stored, found by a new process, same tokens" python/proofs/vllm.sh
  step vllm "through an LMCache server, all started anew" \
    "$python" python/proofs/lmcache_vllm.py --folder "$root/lmcache-vllm"
  grep -h '^lmcache-vllm:' "$root"/logs/vllm-through*.log || true
}

prove_sglang() {
  step sglang "stored, found by a new process, same tokens" python/proofs/sglang.sh
}

# The backend is compiled with the headers of the ggml that the package was made of.
build_llama_cpp_backend() {
  local folder=$root/llama_cpp version
  version=$(sed -n 's/^llama_cpp_python==//p' python/proofs/llama_cpp_lock.txt)
  local source=$folder/llama_cpp_python-$version
  if [[ ! -d $source ]]; then
    "$folder/bin/pip" download -q --no-deps --no-binary llama_cpp_python -d "$folder" \
      "llama_cpp_python==$version" || return 1
    tar -xzf "$source.tar.gz" -C "$folder" || return 1
  fi
  cmake --preset release "-DCUBBY_WITH_GGML=$source/vendor/llama.cpp/ggml" &&
    cmake --build --preset release --target cubby_cli cubby_ggml cubby_preload
}

prove_llama_cpp() {
  local python=$root/llama_cpp/bin/python
  step llama_cpp "the backend, for its ggml" build_llama_cpp_backend
  step llama_cpp "logits to the bit, evicting; damage; what is declined" \
    "$python" python/proofs/llama_cpp_proof.py --folder "$root/llama_cpp/work" --cubby build/release/bin/cubby
}

echo "== building the package"
status=0
./scripts/test_python.sh --build-only || status=$?
if [[ $status -ne 0 ]]; then
  echo "test_engines: the package could not be built; nothing was proven" >&2
  exit "$status" # 77: what it is built with could not be fetched
fi
export PYTHONPATH=$PWD/build/python-ext/stage

for engine in "${engines[@]}"; do
  if ! environment "$engine"; then
    report "$engine" "everything" "skipped: its packages could not be fetched (build/engines/logs)"
  else
    "prove_$engine"
  fi
done

echo
printf '%-14s %-52s %s\n' engine proof result
printf '%s\n' "${results[@]}"
[[ $failed -eq 0 ]] || exit 1
[[ $skipped -eq 0 ]] || exit 77
