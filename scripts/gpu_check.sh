#!/usr/bin/env bash
# Builds cubby and checks its CUDA tier on this machine: the conformance suite over the real driver, the bytes of lockers
# in device memory, the kernels against the processor (where nvcc is), figures, a decode loop. Needs CMake 3.25, a C++20 compiler and a GPU
# with its driver; no network, no other package.
#
#   scripts/gpu_check.sh                   results as JSON and tables in $OUT (default: gpu_check_results)
#   scripts/gpu_check.sh --carry FOLDER    where the headers are installed: copies those that another machine may lack, and
#                                          the command with its libraries where it was built (build/release/bin/cubby)
#
#   CARRY   a folder that --carry has filled
#   CUBBY   the command, for the decode loop at gpt-oss-20b's geometry; else the carried one, else it is built where what it
#           needs is installed (CLI11, nlohmann-json, liblzma, libzstd), else that part is left out. It takes 11 GB of disk,
#           24 GB of host memory and 27 GB of the GPU's
#   ROUTES  a routed_experts JSONL of gpt-oss-20b for it; else routes are made up
#   FOLDER  where its model is made (default: the build folder)
#   BUILD   the build folder (default: build/gpu_check)
#   LIMIT_S seconds for all of it (default: 470)
#   JOBS    compilers at once (default: all processors)
# Exit status: 0 all is well, or there is no GPU, which is said; 1 something is wrong.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)

if [[ ${1:-} == --carry ]]; then
  to=${2:?"--carry needs a folder"}
  mkdir -p "$to"
  for header in xxhash.h xxh3.h; do
    for from in /usr/include /usr/local/include; do
      if [[ -f $from/$header ]]; then
        cp "$from/$header" "$to/"
        break
      fi
    done
  done
  command=${CUBBY:-$here/build/release/bin/cubby}
  if [[ -x $command ]]; then
    cp "$command" "$to/cubby"
    # But for the C library, which goes with the machine's loader.
    ldd "$command" | awk '$3 ~ /^\// && $1 !~ /^(libc|libm|libdl|libpthread|librt)\.so/ { print $3 }' | xargs -r cp -L -t "$to"
  fi
  [[ -f $to/xxhash.h ]] || { echo "gpu_check: xxhash.h is not installed here; install libxxhash-dev" >&2; exit 1; }
  echo "gpu_check: headers are in $to; name it with CARRY on the other machine"
  exit 0
fi

for name in CARRY CUBBY ROUTES FOLDER BUILD; do  # the work goes on in another folder
  [[ -z ${!name:-} ]] || printf -v "$name" %s "$(realpath -m "${!name}")"
done
# Kernels are loaded before one of them waits for the host.
export CUDA_MODULE_LOADING=EAGER
limit_s=${LIMIT_S:-470}
out=${OUT:-gpu_check_results}
build=${BUILD:-$here/build/gpu_check}
jobs=${JOBS:-$(nproc)}
mkdir -p "$out"
out=$(cd "$out" && pwd)

options=(-DCMAKE_BUILD_TYPE=RelWithDebInfo -DCUBBY_BUILD_COMMAND=OFF -DCUBBY_BUILD_TESTS=OFF -DCUBBY_BUILD_GPU_CHECK=ON
         -DCUBBY_UNITY=ON)
if [[ -n ${CARRY:-} ]]; then
  options+=("-DCUBBY_CARRIED=$CARRY")
fi
if command -v ninja >/dev/null 2>&1; then
  options+=(-G Ninja)
fi
mkdir -p "$build"
{
  cmake -S "$here" -B "$build" "${options[@]}"
  cmake --build "$build" --target gpu_check -j "$jobs"
} >"$build/build.log" 2>&1 || { tail -n 30 "$build/build.log"; cp "$build/build.log" "$out/"; echo "gpu_check: the build failed; $out/build.log has all of it"; exit 1; }

# A part of its own each, so that one that hangs or crashes leaves the others. In a folder of the build: files are made there.
# What it says is in log.txt, its figures in a JSON file for each part.
status=0
cd "$build"
rm -rf parts && mkdir parts  # of this run alone
: >"$out/log.txt"
for part in conformance lockers kernels figures; do
  echo "== $part" | tee -a "$out/log.txt"
  came=0
  timeout -k 10 90 bin/gpu_check "$part" parts 2>&1 | tee -a "$out/log.txt" || came=${PIPESTATUS[0]}
  if [[ $came == 77 ]]; then
    exit 0
  fi
  cp "parts/$part.json" "$out/" || status=1  # a part that ran to its end has written it
  if [[ $came != 0 ]]; then
    echo "gpu_check: $part ended with status $came"
    status=1
  fi
done

# The decode loop: half of the experts in the GPU's memory, all of them in host memory.
find_command() {
  if [[ -n ${CUBBY:-} ]]; then
    command=$CUBBY
  elif [[ -n ${CARRY:-} && -x $CARRY/cubby ]]; then
    command=$CARRY/cubby
    LD_LIBRARY_PATH=$CARRY${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
  else
    command=$build/with_command/bin/cubby
    { cmake -S "$here" -B "$build/with_command" "${options[@]}" -DCUBBY_BUILD_COMMAND=ON -DCUBBY_BUILD_GPU_CHECK=OFF &&
      cmake --build "$build/with_command" --target cubby_cli -j "$jobs"; } >"$build/with_command.log" 2>&1 || return 1
  fi
  "$command" --help >/dev/null 2>&1
}
run_decode() {
  model=${FOLDER:-$build}/gpt_oss_geometry.gguf
  if ! find_command; then
    echo "the command is not there, does not start or cannot be built, so no decode loop; name one with CUBBY"
    [[ -z ${CARRY:-}${CUBBY:-} ]] && return 0 || return 1  # what was named was to be there
  fi
  local left_s=$((limit_s - SECONDS))
  if ((left_s < 60)); then
    echo "no time is left for the decode loop of $limit_s s; LIMIT_S allows more"
    return 1
  fi
  trap 'rm -f "$model"' EXIT
  timeout -k 10 "$left_s" "$command" make-model --layers 24 --experts 32 --top-k 4 --hidden 2880 --ffn 2880 --type mxfp4 --out "$model" --json || return 1
  left_s=$((limit_s - SECONDS))
  timeout -k 10 $((left_s > 30 ? left_s : 30)) "$command" bench decode --device cuda:0 --model "$model" ${ROUTES:+--routes "$ROUTES"} --tokens 50 --rounds 3 \
    --check-tokens 1 --device-budget 50% --host-budget 105% --json >"$out/decode.json" || { cat "$out/decode.json"; return 1; }
  cat "$out/decode.json"
}
echo "== decode" | tee -a "$out/log.txt"
(run_decode) 2>&1 | tee -a "$out/log.txt" || status=1
echo "gpu_check: results are in $out"
exit $status
