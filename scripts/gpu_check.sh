#!/usr/bin/env bash
# Builds cubby and checks its CUDA tier on this machine: the conformance suite over the real driver, the bytes of lockers
# in device memory, the kernels against the processor (where nvcc is) and under compute-sanitizer (where that is), figures,
# a decode loop. Needs CMake 3.25, a C++20 compiler and a GPU with its driver; no network, no other package.
#
#   scripts/gpu_check.sh                   results in $OUT (default: gpu_check_results): results.json, which is written anew
#                                          after every step, log.txt with all that was said, build.log
#   scripts/gpu_check.sh --carry [FOLDER]  where the headers are installed: copies those that another machine may lack, and
#                                          the command and gpu_check with their libraries where they were built
#                                          (build/release/bin)
#
#   CARRY   a folder that --carry has filled (default: build/carry, where there is one)
#   PARTS   of conformance lockers kernels slots figures sanitizer decode, what to run (default: all)
#   GPU_CHECK  the program of the first five, in place of one that is built here
#   CUBBY   the command, for the decode loop at gpt-oss-20b's geometry; else the carried one, else it is built where what it
#           needs is installed (CLI11, nlohmann-json, liblzma, libzstd), else that part is left out. It takes 11 GB of disk,
#           24 GB of host memory and 27 GB of the GPU's, or a third of it where disk or time are short
#   ROUTES  a routed_experts JSONL of gpt-oss-20b for it; else routes are made up
#   FOLDER  where its model is made (default: the build folder)
#   BUILD   the build folder (default: build/gpu_check)
#   LIMIT_S seconds for all of it (default: 470); what does not end by then is ended
#   JOBS    compilers at once (default: all processors)
# Exit status: 0 all is well, or there is no GPU, which is said; 1 something is wrong.
set -uo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)

carry() {
  local to=${1:-$here/build/carry} name from program
  mkdir -p "$to" || exit 1
  for name in xxhash.h xxh3.h nlohmann; do
    for from in /usr/include /usr/local/include; do
      if [[ -e $from/$name ]]; then
        cp -rL "$from/$name" "$to/"
        break
      fi
    done
  done
  for program in "${CUBBY:-$here/build/release/bin/cubby}" "${GPU_CHECK:-$here/build/release/bin/gpu_check}"; do
    [[ -x $program ]] || continue
    name=$to/$(basename "$program")
    cp "$program" "$name"
    strip -g "$name" 2>/dev/null
    # But for the C library, which goes with the machine's loader.
    ldd "$program" | awk '$3 ~ /^\// && $1 !~ /^(libc|libm|libdl|libpthread|librt)\.so/ { print $3 }' | xargs -r cp -L -t "$to"
  done
  [[ -f $to/xxhash.h && -f $to/nlohmann/json.hpp ]] || {
    echo "gpu_check: xxhash.h or nlohmann/json.hpp is not installed here; install libxxhash-dev and nlohmann-json3-dev" >&2
    exit 1
  }
  echo "gpu_check: $(du -sm "$to" | cut -f 1) MB are in $to; name it with CARRY on the other machine"
}
if [[ ${1:-} == --carry ]]; then
  carry "${2:-}"
  exit 0
fi

[[ -n ${CARRY:-} || ! -d $here/build/carry ]] || CARRY=$here/build/carry
for name in CARRY GPU_CHECK CUBBY ROUTES FOLDER BUILD; do  # the work goes on in another folder
  [[ -z ${!name:-} ]] || printf -v "$name" %s "$(realpath -m "${!name}")"
done
limit_s=${LIMIT_S:-470}
build=${BUILD:-$here/build/gpu_check}
jobs=${JOBS:-$(nproc)}
parts=${PARTS:-conformance lockers kernels slots figures sanitizer decode}
out=${OUT:-gpu_check_results}
mkdir -p "$out" "$build" || exit 1
out=$(cd "$out" && pwd)
rm -f "$out/results.json" "$out/build.log"
: >"$out/log.txt"
# Kernels are loaded before one of them waits for the host.
export CUDA_MODULE_LOADING=EAGER
ulimit -l unlimited 2>/dev/null  # of memory that is registered

# ---- what came of it
status=0
ended="it was ended from outside"
declare -a steps=()    # "name": {...}
declare -a machine=()  # "name": "text"
quoted() {
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "$(tr '\n\t' '  ' <<<"$text" | tr -d '\000-\037' | sed 's/ *$//')"
}
joined() { local IFS=,; echo "$*"; }
write_results() {
  { printf '{"status": %s, "ended": %s, "seconds": %s, "limit_s": %s,\n "machine": {%s},\n "parts": {%s}}\n' "$status" \
      "$(quoted "$ended")" "$SECONDS" "$limit_s" "$(joined "${machine[@]}")" "$(joined "${steps[@]}")" >"$out/results.new" &&
    mv "$out/results.new" "$out/results.json"; } || { status=1; echo "gpu_check: $out cannot be written" >&2; }
}
# note NAME WHAT SECONDS [FILE]: a step is over; the file has an object of what it found.
note() {
  local found=
  [[ ! -s ${4:-} ]] || found=", \"found\": $(cat "$4")"
  steps+=("
  $(quoted "$1"): {\"came\": $(quoted "$2"), \"seconds\": $3$found}")
  write_results
}
wrong() { status=1; say "gpu_check: $1"; }
say() { echo "$1" | tee -a "$out/log.txt"; }
left_s() { echo $((limit_s - SECONDS)); }
least() { echo $(($1 < $2 ? $1 : $2)); }
about() {  # NAME COMMAND...: a line of the machine
  local name=$1
  shift
  machine+=("$(quoted "$name"): $(quoted "$("$@" 2>&1 | head -n 1)")")
}

# run SECONDS LOG COMMAND...: its exit status; 124 where it did not end by itself. One that a driver does not let go of is
# left behind: whoever waits for it waits for ever.
run() {
  local seconds=$1 log=$2
  shift 2
  ((seconds > 0)) || return 124
  setsid "$@" >>"$log" 2>&1 </dev/null &
  child=$!
  local pid=$child until=$((SECONDS + seconds)) tries
  while kill -0 "$pid" 2>/dev/null; do
    if ((SECONDS >= until)); then
      kill -KILL -- "-$pid" 2>/dev/null
      for ((tries = 0; tries < 10; ++tries)); do
        kill -0 "$pid" 2>/dev/null || { wait "$pid" 2>/dev/null; return 124; }
        sleep 0.2
      done
      disown "$pid" 2>/dev/null
      return 124
    fi
    sleep 0.1
  done
  wait "$pid" 2>/dev/null
}
came_text() {
  case $1 in
    0) echo "good" ;;
    124) echo "it did not end in time, and was ended" ;;
    *) if (($1 > 128)); then echo "it crashed by signal $(($1 - 128))"; else echo "it ended with status $1"; fi ;;
  esac
}
child=
trap write_results EXIT
trap 'status=1; kill -KILL -- "-$child" 2>/dev/null; exit 1' TERM INT HUP

# ---- the machine
# A container may have the driver where the loader does not look.
if ! ldconfig -p 2>/dev/null | grep -q 'libcuda\.so\.1'; then
  for folder in ${LD_LIBRARY_PATH//:/ } /usr/local/nvidia/lib64 /usr/local/nvidia/lib /usr/lib/wsl/lib; do
    if [[ -e $folder/libcuda.so.1 ]]; then
      export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
      break
    fi
  done
fi
[[ -x $(command -v nvcc) || ! -x /usr/local/cuda/bin/nvcc ]] || PATH=$PATH:/usr/local/cuda/bin
about kernel uname -rm
about processors nproc
about locked_memory ulimit -l
about cmake cmake --version
about compiler "${CXX:-c++}" --version
about nvcc bash -c 'nvcc --version | tail -n 1'
about gpu timeout 20 nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader
has_gpu() { [[ -e /dev/nvidia0 || -e /dev/nvidiactl || -e /dev/dxg ]]; }
write_results

# ---- the program
options=(-DCMAKE_BUILD_TYPE=RelWithDebInfo -DCUBBY_BUILD_COMMAND=OFF -DCUBBY_BUILD_TESTS=OFF -DCUBBY_BUILD_GPU_CHECK=ON
         -DCUBBY_UNITY=ON)
[[ -z ${CARRY:-} ]] || options+=("-DCUBBY_CARRIED=$CARRY")
! command -v ninja >/dev/null 2>&1 || options+=(-G Ninja)
# Kernels for the devices here alone: they take the longest to compile.
here_for=$(timeout 20 nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d '. ' | sort -u | paste -sd ';')
[[ ! $here_for =~ ^[0-9]+(\;[0-9]+)*$ ]] || options+=("-DCUBBY_CUDA_ARCHITECTURES=$here_for")
compile() {  # SECONDS FOLDER TARGET OPTION...
  local seconds=$1 folder=$2 target=$3 until=$((SECONDS + $1))
  shift 3
  run "$seconds" "$out/build.log" cmake --fresh -S "$here" -B "$folder" "${options[@]}" "$@" &&
    run $((until - SECONDS)) "$out/build.log" cmake --build "$folder" --target "$target" -j "$jobs"
}
find_program() {
  if [[ -n ${GPU_CHECK:-} ]]; then
    program=("$GPU_CHECK")
    return 0
  fi
  program=("$build/bin/gpu_check")
  compile "$(least 240 $(($(left_s) - 120)))" "$build" gpu_check && return 0
  tail -n 30 "$out/build.log"
  wrong "the build failed; $out/build.log has all of it"
  if [[ -x ${CARRY:-}/gpu_check ]]; then
    say "gpu_check: the carried program is used"
    program=(env "LD_LIBRARY_PATH=$CARRY${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$CARRY/gpu_check")
    return 0
  fi
  say "gpu_check: it is built again, without kernels"
  compile "$(least 180 $(($(left_s) - 60)))" "$build" gpu_check -DCUBBY_WITH_CUDA_KERNELS=OFF
}
began=$SECONDS
declare -a program=()
if ! find_program; then
  note build "failed; the last line is: $(tail -n 1 "$out/build.log" 2>/dev/null)" $((SECONDS - began))
  ended="there is no program to run"
  wrong "$ended"
  exit 1
fi
note build "$([[ $status == 0 ]] && echo good || echo "failed at first"): ${program[-1]}" $((SECONDS - began))

# ---- the parts, each by itself, so that one that hangs or crashes leaves the others
wants() { [[ " $parts " == *" $1 "* ]]; }
cd "$build" || exit 1
rm -rf parts && mkdir parts  # of this run alone
# shown LOG: what a step said, also here
shown() { cat "$1"; cat "$1" >>"$out/log.txt"; }
run_part() {
  local name=$1 began=$SECONDS came
  say "== $name"
  : >parts/log
  run "$(least 90 "$(left_s)")" parts/log "${program[@]}" "$name" parts
  came=$?
  shown parts/log
  if [[ $came == 77 ]]; then
    note "$name" "$(tail -n 1 parts/log)" $((SECONDS - began))
    ended="there is no GPU that can be used"
    ! has_gpu || wrong "there is a GPU here, and its driver cannot be used"
    exit $status
  fi
  note "$name" "$(came_text $came)" $((SECONDS - began)) "parts/$name.json"
  [[ $came == 0 ]] || wrong "$name: $(came_text $came)"
  # Where they can be compiled they are to be checked.
  if command -v nvcc >/dev/null 2>&1 && grep -qs '": "skipped: the library was built without' "parts/$name.json"; then
    wrong "$name: the kernels are not in the program though nvcc is here; $out/build.log says why"
  fi
}
for part in conformance lockers kernels slots figures; do
  ! wants "$part" || run_part "$part"
done

# Wrong accesses of the kernels. A tool that does not run here says nothing about them.
run_sanitizer() {
  local began=$SECONDS came tool
  say "== sanitizer"
  tool=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
  if [[ -z $tool ]]; then
    note sanitizer "left out: there is no compute-sanitizer" 0
    return
  fi
  : >parts/log
  mkdir -p parts/sanitized
  run "$(least 60 $(($(left_s) - 5)))" parts/log "$tool" --tool memcheck --error-exitcode 86 "${program[@]}" kernels parts/sanitized
  came=$?
  shown parts/log
  case $came in
    86) wrong "compute-sanitizer has found wrong accesses" ; note sanitizer "wrong accesses: $(tail -n 1 parts/log)" $((SECONDS - began)) ;;
    0) note sanitizer good $((SECONDS - began)) ;;
    *) note sanitizer "nothing is known: $(came_text $came): $(tail -n 1 parts/log)" $((SECONDS - began)) ;;
  esac
}
! wants sanitizer || run_sanitizer

# The decode loop: half of the experts in the GPU's memory, all of them in host memory.
find_command() {
  if [[ -n ${CUBBY:-} ]]; then
    command=$CUBBY
  elif [[ -x ${CARRY:-}/cubby ]]; then
    command=$CARRY/cubby
    LD_LIBRARY_PATH=$CARRY${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
  else
    command=$build/with_command/bin/cubby
    compile $(($(left_s) - 120)) "$build/with_command" cubby_cli -DCUBBY_BUILD_COMMAND=ON -DCUBBY_BUILD_GPU_CHECK=OFF || return 1
  fi
  "$command" --help >/dev/null 2>&1
}
run_decode() {
  local began=$SECONDS came layers=24 free_mb
  say "== decode"
  : >parts/log
  model=${FOLDER:-$build}/gpt_oss_geometry.gguf
  if ! find_command; then
    note decode "left out: the command is not there, does not start or cannot be built; name one with CUBBY" $((SECONDS - began))
    [[ -z ${CUBBY:-} && ! -x ${CARRY:-}/cubby ]] || wrong "the command that was named does not start"
    return
  fi
  trap 'rm -f "$model"; write_results' EXIT
  free_mb=$(df -Pm "$(dirname "$model")" | awk 'NR == 2 { print $4 }')
  (($(left_s) >= 170 && ${free_mb:-0} >= 12000)) || { layers=8; ROUTES=; }
  if (($(left_s) < 60)); then
    wrong "no time is left for the decode loop of $limit_s s; LIMIT_S allows more"
    note decode "left out: no time is left" $((SECONDS - began))
    return
  fi
  run $(($(left_s) - 40)) parts/log "$command" make-model --layers $layers --experts 32 --top-k 4 --hidden 2880 --ffn 2880 \
    --type mxfp4 --out "$model" --json &&
    run $(($(left_s) - 5)) parts/log sh -c 'exec "$@" >parts/decode.json' sh "$command" bench decode --device cuda:0 \
      --model "$model" ${ROUTES:+--routes "$ROUTES"} --tokens 50 --rounds 3 --check-tokens 1 --device-budget 50% --host-budget 105% --json
  came=$?
  shown parts/log
  [[ ! -e parts/decode.json ]] || shown parts/decode.json
  if [[ $came == 0 ]]; then
    note decode "good, of $layers layers" $((SECONDS - began)) parts/decode.json
  else
    note decode "$(came_text $came): $(tail -qn 1 parts/log parts/decode.json 2>/dev/null | tail -n 1)" $((SECONDS - began))
    wrong "decode: $(came_text $came)"
  fi
}
! wants decode || run_decode
ended="it came to its end"
say "gpu_check: $([[ $status == 0 ]] && echo "all is well" || echo "SOMETHING IS WRONG"); results are in $out"
exit $status
