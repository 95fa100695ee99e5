# Sourced by demo.sh and test_engines.sh after python_wheel.sh, in the root of the tree.
#   engine_env NAME     build/engines/NAME, a virtual environment of python/proofs/NAME_lock.txt; $python afterwards. False
#                       where that could not be had; why is in build/engines/logs/NAME-install.log
#   llama_cpp_sources   what llama_cpp_python was compiled from; $llama_sources afterwards

# Engines import thousands of modules; compiled anew at each start they take minutes of a busy machine.
unset PYTHONDONTWRITEBYTECODE
root=$PWD/build/engines
mkdir -p "$root/logs"

engine_env() { # name
  local list=python/proofs/$1_lock.txt log=$root/logs/$1-install.log venv=$root/$1 began=$SECONDS
  python=$venv/bin/python
  if cmp -s "$list" "$venv/installed"; then return; fi
  echo "== installing $(grep -c == "$list") packages into build/engines/$1"
  [[ -x $python ]] || python3 -m venv --without-pip "$venv" || return 1
  rm -f "$venv/installed" "$venv/cubby"
  if [[ $1 == llama_cpp ]]; then
    echo "== llama.cpp is compiled, once, for some minutes"
    # Some virtual machines name AMX and end a program that uses it, so it is left out where it is named.
    local instructions=""
    if grep -qw amx_tile /proc/cpuinfo; then
      instructions="-DGGML_NATIVE=OFF -DGGML_AVX512=ON -DGGML_AVX512_VNNI=ON"
    fi
    export CMAKE_ARGS="-DLLAVA_BUILD=OFF $instructions ${CMAKE_ARGS:-}" CMAKE_BUILD_PARALLEL_LEVEL=2
  fi
  "$tools/bin/uv" pip sync -q --python "$python" "$list" >"$log" 2>&1 || return 1
  cp "$list" "$venv/installed"
  echo "== installed in $((SECONDS - began)) s"
}

llama_cpp_sources() {
  local folder=$root/llama_cpp version
  version=$(sed -n 's/^llama_cpp_python==//p' python/proofs/llama_cpp_lock.txt)
  local source=$folder/llama_cpp_python-$version
  llama_sources=$source/vendor/llama.cpp
  [[ ! -d $source ]] || return 0
  "$tools/bin/pip" download -q --no-deps --no-binary llama_cpp_python -d "$folder" \
    "llama_cpp_python==$version" || return 1
  # Whole or not at all, also where it is interrupted.
  rm -rf "$source.part"
  mkdir "$source.part" || return 1
  tar -xzf "$source.tar.gz" -C "$source.part" || return 1
  mv "$source.part/${source##*/}" "$source" || return 1
  rmdir "$source.part"
}
