# Sourced by the scripts beside it. engine_env NAME: a virtual environment build/engines/NAME with the
# packages of NAME_lock.txt and cubby's own wheel in it; its interpreter is $python afterwards. What is
# there already is not fetched again. Exits with 77 where the package registry does not answer.

fetch() {
  local log=build/engines/fetch.log
  mkdir -p build/engines
  if ! nice -n 10 "$@" >"$log" 2>&1; then
    echo "skipped: the package registry did not deliver: $(grep -v '^ *$' "$log" | tail -1)" >&2
    exit 77
  fi
}

# The wheel is made once for all engines, and again where a file of the package changed.
cubby_wheel() {
  local tools=build/python-venv given=() stamp=build/wheels/stamp now
  if ! "$tools/bin/python" -c 'import nanobind, scikit_build_core' 2>/dev/null; then
    [[ -x $tools/bin/python ]] || python3 -m venv "$tools"
    fetch "$tools/bin/pip" install nanobind scikit-build-core ninja
  fi
  now=$(cat pyproject.toml $(find python/cubby python/src python/CMakeLists.txt -type f \
    -not -path '*/__pycache__/*' | sort) | sha256sum)
  if [[ -f $stamp && $(cat "$stamp") == "$now" ]] && ls build/wheels/cubby-*.whl >/dev/null 2>&1; then
    return
  fi
  local library=${CUBBY_LIBRARY:-$PWD/build/release/lib/libcubby.a}
  if [[ -f $library ]]; then given=(-C "cmake.define.CUBBY_LIBRARY=$library"); fi
  rm -rf build/wheels
  nice -n 10 "$tools/bin/pip" wheel -q . --no-deps --no-build-isolation -w build/wheels \
    -C cmake.define.CUBBY_PYTHON_COMMAND=OFF "${given[@]}"
  echo "$now" >"$stamp"
}

engine_env() {
  local name=$1 venv=build/engines/$1 lock=python/proofs/$1_lock.txt
  python=$PWD/$venv/bin/python
  if ! cmp -s "$lock" "$venv/installed"; then
    [[ -x $python ]] || python3 -m venv "$venv"
    fetch "$python" -m pip install --no-deps -r "$lock"
    cp "$lock" "$venv/installed"
  fi
  cubby_wheel
  if ! cmp -s build/wheels/stamp "$venv/cubby"; then
    nice -n 10 "$python" -m pip install -q --no-deps --no-index --force-reinstall build/wheels/cubby-*.whl
    cp build/wheels/stamp "$venv/cubby"
  fi
}
