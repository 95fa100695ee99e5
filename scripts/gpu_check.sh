#!/usr/bin/env bash
# Builds cubby and checks its CUDA tier on this machine: the conformance suite over the real driver, the bytes of lockers
# in device memory, the kernels against the processor (where nvcc is), figures. Needs CMake 3.25, a C++20 compiler and a GPU
# with its driver; no network, no other package.
#
#   scripts/gpu_check.sh                   results as JSON and tables in $OUT (default: gpu_check_results)
#   scripts/gpu_check.sh --carry FOLDER    where the headers are installed: copies those that another machine may lack
#
#   CARRY   a folder that --carry has filled
#   BUILD   the build folder (default: build/gpu_check)
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
  [[ -f $to/xxhash.h ]] || { echo "gpu_check: xxhash.h is not installed here; install libxxhash-dev" >&2; exit 1; }
  echo "gpu_check: headers are in $to; name it with CARRY on the other machine"
  exit 0
fi

out=${OUT:-gpu_check_results}
build=${BUILD:-$here/build/gpu_check}
jobs=${JOBS:-$(nproc)}
mkdir -p "$out"
out=$(cd "$out" && pwd)

options=(-DCMAKE_BUILD_TYPE=RelWithDebInfo -DCUBBY_BUILD_COMMAND=OFF -DCUBBY_BUILD_TESTS=OFF -DCUBBY_BUILD_GPU_CHECK=ON
         -DCUBBY_UNITY=ON)
if [[ -n ${CARRY:-} ]]; then
  options+=("-DCUBBY_CARRIED=$(cd "$CARRY" && pwd)")
fi
if command -v ninja >/dev/null 2>&1; then
  options+=(-G Ninja)
fi
{
  cmake -S "$here" -B "$build" "${options[@]}"
  cmake --build "$build" --target gpu_check -j "$jobs"
} >"$out/build.log" 2>&1 || { tail -n 30 "$out/build.log"; echo "gpu_check: the build failed; $out/build.log has all of it"; exit 1; }

# A part of its own each, so that one that hangs or crashes leaves the others. In a folder of the build: files are made there.
status=0
cd "$build"
for part in conformance lockers kernels figures; do
  echo "== $part"
  came=0
  timeout -k 10 150 bin/gpu_check "$part" "$out" 2>&1 | tee "$out/$part.log" || came=${PIPESTATUS[0]}
  if [[ $came == 77 ]]; then
    exit 0
  fi
  if [[ $came != 0 ]]; then
    echo "gpu_check: $part ended with status $came"
    status=1
  fi
done
echo "gpu_check: results are in $out"
exit $status
