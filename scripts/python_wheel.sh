# Sourced by test_python.sh and test_engines.sh, in the root of the tree.
#   tools_env          build/python-venv, with what builds and tests the package; $tools afterwards
#   cubby_wheel        build/wheels/cubby-*.whl, made again where a file of the package changed
#   install_wheel DIR  that wheel into the virtual environment DIR
# Exits with 77 where the package registry does not answer. Links the library of build/release, or the one that
# CUBBY_LIBRARY names, where there is one, so that it is not compiled twice.

tools=$PWD/build/python-venv
# uv knows nothing of pip's settings.
if [[ -n ${PIP_INDEX_URL:-} ]]; then export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}; fi

fetch() { # what, command...
  local log=build/fetch.log what=$1
  shift
  mkdir -p build
  if ! "$@" >"$log" 2>&1; then
    echo "skipped: $what could not be fetched: $(grep -v '^ *$' "$log" | tail -n 1)" >&2
    exit 77
  fi
}

tools_env() {
  # The headers and venv of the interpreter that python3 is; Debian has them in packages of their own.
  if ! python3 - <<'CHECK'; then ./scripts/install_deps.sh --python; fi
import ensurepip, os, sysconfig, venv
assert os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
CHECK
  if ! "$tools/bin/python" -c 'import nanobind, scikit_build_core, pytest, uv' 2>/dev/null; then
    echo "== making the environment build/python-venv"
    [[ -x $tools/bin/python ]] || python3 -m venv "$tools"
    fetch "what builds and tests the Python package" \
      "$tools/bin/pip" install nanobind scikit-build-core pytest ruff uv
  fi
}

# One at a time: two scripts may run side by side.
cubby_wheel() {
  (
    flock 9
    make_wheel
  ) 9>build/wheel.lock
}

make_wheel() {
  local library=${CUBBY_LIBRARY:-$PWD/build/release/lib/libcubby.a} given=() now=
  if [[ -f $library ]]; then
    given=(-C "cmake.define.CUBBY_LIBRARY=$library")
    now=$(cat pyproject.toml $(find python/cubby python/src python/CMakeLists.txt -type f \
      -not -path '*/__pycache__/*' | sort) "$library" | sha256sum)
    if [[ -f build/wheels/made_of && $(<build/wheels/made_of) == "$now" ]]; then return; fi
  fi
  echo "== building the Python package"
  rm -rf build/wheels
  "$tools/bin/pip" wheel -q . --no-deps --no-build-isolation -w build/wheels \
    -C cmake.define.CUBBY_PYTHON_COMMAND=OFF "${given[@]}" || return 1
  echo "$now" >build/wheels/made_of
}

install_wheel() { # virtual environment
  local now
  now=$(sha256sum build/wheels/cubby-*.whl)
  if [[ -f $1/cubby && $(<"$1/cubby") == "$now" ]]; then return; fi
  "$tools/bin/uv" pip install -q --python "$1/bin/python" --offline --no-deps --reinstall \
    build/wheels/cubby-*.whl || return 1
  echo "$now" >"$1/cubby"
}
