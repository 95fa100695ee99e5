#!/usr/bin/env bash
# Proves the adapters in the real engines, on the CPU, and prints a table.
#   test_engines.sh [--quick] [lmcache] [transformers] [vllm] [sglang] [llama_cpp]
# Without names: all five. --quick: without what takes minutes: the other adapters of LMCache's
# benchmark, the proof of transformers in little memory, the tiers of vLLM and SGLang beside ours.
# llama.cpp and its llama-server are compiled the first time, for some minutes.
# The virtual environments, of pinned versions (python/proofs/*_lock.txt), stay under build/engines
# for the next run; lmcache and transformers share one. What could not be fetched from the package
# registry is skipped, and says so. Exit status: 0 all passed, 1 one failed, 77 none failed and at
# least one was skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=
engines=()
for argument in "$@"; do
  case $argument in
    --quick) quick=1 ;;
    lmcache | transformers | vllm | sglang | llama_cpp) engines+=("$argument") ;;
    *)
      echo "test_engines: '$argument' is not one of --quick, lmcache, transformers, vllm, sglang and llama_cpp" >&2
      exit 2
      ;;
  esac
done
[[ ${#engines[@]} -gt 0 ]] || engines=(lmcache transformers vllm sglang llama_cpp)

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

# The environment of an engine, with the package in it; its name is $name.
environment() { # engine
  name=$1
  case $name in lmcache | transformers) name=light ;; esac
  engine_env "$name" && install_wheel "$root/$name"
}

# Runs a step with its output in a log; its last lines are shown where it failed.
step() { # engine, what, command...
  local engine=$1 what=$2 began=$SECONDS
  shift 2
  local log=$root/logs/$engine-${what//[^a-z0-9]/-}.log
  local status=0
  "$@" >"$log" 2>&1 || status=$?
  if [[ $status -eq 0 ]]; then
    report "$engine" "$what" "passed in $((SECONDS - began)) s"
  elif [[ $status -eq 77 ]]; then
    report "$engine" "$what" "skipped: $(tail -n 1 "$log")"
  else
    tail -n 40 "$log"
    report "$engine" "$what" "FAILED, see ${log#"$PWD/"}"
  fi
}

# A rival in LMCache's benchmark, which says where it is not there.
nixl_rival() {
  "$python" -c 'import nixl' 2>/dev/null ||
    "$tools/bin/uv" pip install -q --python "$python" --no-deps nixl==1.5.1 nixl-cu13==1.5.1 || true
}

prove_lmcache() {
  local sides=()
  if [[ -n $quick ]]; then sides=(--sides cubby); else nixl_rival; fi
  step lmcache "the contract of the connector" \
    "$python" -m pytest -q -p no:cacheprovider python/tests/test_lmcache_connector.py
  step lmcache "bench l2, verified" \
    "$python" python/proofs/lmcache_l2.py --folder "$root/lmcache-l2" "${sides[@]}" \
    --json "$root/logs/lmcache-l2.json"
  cat "$root"/logs/lmcache-bench-l2*.log
}

prove_transformers() {
  step transformers "logits of four architectures <= 1e-5, same tokens" \
    "$python" -m pytest -q -s -p no:cacheprovider python/tests/test_transformers_experts.py
  step transformers "KV blocks in lockers: the same logits, found again" \
    "$python" -m pytest -q -s -p no:cacheprovider python/tests/test_transformers_cache.py
  grep -h 'largest difference' "$root"/logs/transformers-*.log || true
  [[ -z $quick ]] || return 0
  step transformers "in half of its memory, 4 x accelerate's offload" \
    "$python" python/proofs/transformers_offload.py --folder "$root/offload"
  grep -h '^offload:' "$root"/logs/transformers-in-half*.log || true
}

prove_vllm() {
  step vllm "its own tests, with the policy and the tier in place" \
    "$python" python/proofs/vllm_own_tests.py "$root/vllm-source"
  grep -h '^vllm_own_tests:' "$root"/logs/vllm-its-own*.log || true
  step vllm "stored, found by a new process, same tokens" \
    "$python" python/proofs/vllm_proof.py "$root" ${quick:+--quick}
  step vllm "through an LMCache server, all started anew" \
    "$python" python/proofs/lmcache_vllm.py --folder "$root/lmcache-vllm"
  grep -h '^lmcache-vllm:' "$root"/logs/vllm-through*.log || true
}

prove_sglang() {
  step sglang "stored, found by a new process, same tokens" \
    "$python" python/proofs/sglang_proof.py "$root" ${quick:+--quick}
}

# The backend is compiled with the headers of the ggml that the package was made of.
build_llama_cpp_backend() {
  llama_cpp_sources &&
    cmake --preset release "-DCUBBY_WITH_GGML=$llama_sources/ggml" &&
    cmake --build --preset release --target cubby_cli cubby_ggml cubby_preload
}

# llama-server of those sources, on the libraries of the package.
prove_llama_server() {
  local build=$root/llama_server packages
  if ! llama_cpp_sources || [[ ! -d $llama_sources/tools/server ]]; then
    echo "no sources of llama-server: the package registry does not answer, or llama_cpp_python has no tools/server"
    return 77
  fi
  packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') &&
    cmake -G Ninja -S python/proofs/llama_server -B "$build" -DCMAKE_BUILD_TYPE=Release \
      -DCMAKE_CXX_FLAGS_RELEASE=-O1 "-DLLAMA_SOURCES=$llama_sources" "-DLLAMA_LIBRARIES=$packages/lib" &&
    cmake --build "$build" --target llama-server &&
    "$python" python/proofs/llama_server_proof.py --folder "$root/llama_cpp/work" \
      --cubby build/release/bin/cubby --server "$build/server/llama-server"
}

prove_llama_cpp() {
  step llama_cpp "the backend, for its ggml" build_llama_cpp_backend
  step llama_cpp "logits to the bit, evicting; damage; what is declined" \
    "$python" python/proofs/llama_cpp_proof.py --folder "$root/llama_cpp/work" --cubby build/release/bin/cubby
  step llama_cpp "prompt cache in lockers: logits to the bit" \
    "$python" python/proofs/llama_cpp_kv.py --folder "$root/llama_cpp/work" --cubby build/release/bin/cubby \
    --rounds 1
  grep -h '^first token' "$root"/logs/llama_cpp-prompt-cache*.log || true
  step llama_cpp "prompt cache of its Python server, by options alone" \
    "$python" python/proofs/llama_python_server.py --folder "$root/llama_cpp/work"
  step llama_cpp "llama-server: the same tokens, signals, status" prove_llama_server
}

source scripts/python_wheel.sh
source scripts/engine_env.sh
tools_env
cubby_wheel
for engine in "${engines[@]}"; do
  if environment "$engine"; then
    "prove_$engine"
  elif grep -qiE 'no solution|no version|couldn.t parse' "$root/logs/$name-install.log"; then
    report "$engine" "everything" "FAILED: python/proofs/${name}_lock.txt, see build/engines/logs"
  else
    report "$engine" "everything" "skipped: not fetched: $(tail -n 1 "$root/logs/$name-install.log")"
  fi
done

echo
printf '%-14s %-52s %s\n' engine proof result
printf '%s\n' "${results[@]}"
echo "in $SECONDS s"
[[ $failed -eq 0 ]] || exit 1
[[ $skipped -eq 0 ]] || exit 77
