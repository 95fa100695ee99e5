#!/usr/bin/env bash
# Installs what building and testing cubby needs; with --tests what only tests need too, with --python what the Python
# package needs. Asks nothing, says what it does, does nothing when all is there.
set -euo pipefail

packages=(g++ cmake ninja-build pkg-config python3
          catch2 nlohmann-json3-dev libxxhash-dev liburing-dev
          libhwloc-dev libtbb-dev libcli11-dev libbenchmark-dev liblzma-dev libzstd-dev xz-utils zstd)
for argument in "$@"; do
  case $argument in
    --tests) packages+=(clang-tidy-14) ;; # for a test that is skipped where it is not installed
    --python) packages+=(python3-dev python3-venv) ;;
  esac
done

if ! command -v apt-get >/dev/null 2>&1; then
  cat >&2 <<'TABLE'
install_deps: this script installs with apt (Debian 12 and its relatives) and apt-get is not here.
Install these with your package manager, then run the command again:
  Debian                Fedora                 Arch
  g++ (12 or newer)     gcc-c++                gcc
  cmake (3.25+)         cmake                  cmake
  ninja-build           ninja-build            ninja
  pkg-config            pkgconf                pkgconf
  python3               python3                python
  catch2                catch-devel            catch2
  nlohmann-json3-dev    json-devel             nlohmann-json
  libxxhash-dev         xxhash-devel           xxhash
  liburing-dev          liburing-devel         liburing
  libhwloc-dev          hwloc-devel            hwloc
  libtbb-dev            tbb-devel              onetbb
  libcli11-dev          cli11-devel            cli11
  libbenchmark-dev      google-benchmark-devel benchmark
  liblzma-dev           xz-devel               xz
  libzstd-dev           libzstd-devel          zstd
  xz-utils, zstd        xz, zstd               xz, zstd
TABLE
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [[ $status == "install ok installed" ]] || missing+=("$package")
done
if [[ ${#missing[@]} -eq 0 ]]; then
  echo "install_deps: everything is installed"
  exit 0
fi

sudo=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null 2>&1; then
    echo "install_deps: not root and no sudo; as root run: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  sudo=(sudo)
fi
echo "install_deps: installing ${missing[*]}"
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
echo "install_deps: done"
