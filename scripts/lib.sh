# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# Functions that the scripts share; to be sourced, not run.
#
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build="$root/build/release"
tensorflow_version=$(sed -n 's/^tensorflow-cpu==\([0-9.]*\).*/\1/p' \
  "$root/cmake/requirements-tensorflow.txt")

# say TEXT...: tells what is being done.
say() { printf '== %s\n' "$*" >&2; }

# die TEXT...: tells what went wrong and what to do, and ends the script.
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Without a home folder that can be written, pip, CMake and these scripts keep
# what they fetch in the build folder.
use_cache_folder() {
  case "${XDG_CACHE_HOME:-}" in
    /*) cache="$XDG_CACHE_HOME" ;;
    *) cache="${HOME:+$HOME/.cache}" ;;
  esac
  if [ -z "$cache" ] || ! mkdir -p "$cache/tftrain" 2>/dev/null ||
    ! [ -w "$cache/tftrain" ]; then
    cache="$root/build/cache"
    say "No home folder can be written; downloads are kept in $cache"
  fi
  export XDG_CACHE_HOME="$cache"
  cache="$cache/tftrain"
  mkdir -p "$cache"
}

# as_root COMMAND...: runs it as root, or fails.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }
  then
    sudo "$@"
  else
    return 1
  fi
}

# install_packages PACKAGE...: installs Debian packages, or says how to.
install_packages() {
  local wish="apt-get install -y --no-install-recommends $*"
  command -v apt-get >/dev/null ||
    die "missing on this system: $* (Debian's names); install them and run" \
      "this script again"
  as_root true || die "missing: $*; run as root: $wish"
  say "Installing $*"
  if ! apt_install "$@"; then
    say "Reading the list of packages first (apt-get update)"
    as_root apt-get update -q </dev/null >&2 || say "apt-get update failed"
    apt_install "$@" ||
      die "these packages could not be installed: $*; run as root: $wish"
  fi
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
    --no-install-recommends "$@" </dev/null >&2
}

# has_header NAME: whether the C++ compiler can include it.
has_header() {
  echo "#include <$1>" | c++ -E -x c++ - >/dev/null 2>&1
}

# Installs what building needs and is not there yet.
install_build_tools() {
  local missing=()
  command -v c++ >/dev/null || missing+=(g++)
  command -v cmake >/dev/null || missing+=(cmake)
  command -v ninja >/dev/null || missing+=(ninja-build)
  command -v python3 >/dev/null || missing+=(python3)
  python3 -m pip --version >/dev/null 2>&1 ||
    /usr/bin/python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
  [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
  has_header gtest/gtest.h || missing+=(libgtest-dev)
  has_header gmock/gmock.h || missing+=(libgmock-dev)
  has_header benchmark/benchmark.h || missing+=(libbenchmark-dev)
  if [ ${#missing[@]} -gt 0 ]; then
    install_packages "${missing[@]}"
  fi
  require_cmake 3.25
}

# require_cmake VERSION: where the system's CMake is older, one from PyPI is
# put into the cache folder and used.
require_cmake() {
  local version
  version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
  if printf '%s\n' "$1" "$version" | sort -V -C; then
    return
  fi
  if ! [ -x "$cache/cmake/bin/cmake" ]; then
    say "CMake $version is older than $1; a newer one is put into $cache/cmake"
    make_environment "$cache/cmake" --require-hashes \
      -r "$root/scripts/requirements-cmake.txt" ||
      die "CMake $1 or newer is needed; install it and run this script again"
  fi
  export PATH="$cache/cmake/bin:$PATH"
}

# make_environment FOLDER PIP-ARGUMENTS...: a virtual environment with Python
# packages, made once; one that was not completed is made anew.
make_environment() {
  local folder=$1
  shift
  if [ -e "$folder/complete" ]; then
    return
  fi
  python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
  (
    flock 9
    if [ -e "$folder/complete" ]; then
      exit 0
    fi
    rm -rf "$folder"
    python3 -m venv "$folder" || exit 1
    "$folder/bin/python" -m pip install -q --no-input \
      --disable-pip-version-check --only-binary=:all: "$@" >&2 || exit 1
    touch "$folder/complete"
  ) 9>"$folder.lock"
}

# configure: prepares the build folder that all scripts share.
configure() {
  say "Preparing $build"
  mkdir -p "$build"
  (cd "$root" && cmake --preset release) >"$build/configure.log" 2>&1 || {
    cat "$build/configure.log" >&2
    die "CMake failed; what it said stands above"
  }
  grep '^-- .*TensorFlow' "$build/configure.log" >&2 || true
}

# build TARGET: builds it.
build() {
  say "Building $1 (the first time takes some minutes)"
  cmake --build "$build" --parallel "$(nproc)" --target "$1" >&2 ||
    die "the build failed; what it said stands above"
}

# program PATH: the program of that name in the build folder, which lies in a
# folder of its own name where the sources do.
program() {
  if [ -d "$build/$1" ]; then
    echo "$build/$1/$(basename "$1")"
  else
    echo "$build/$1"
  fi
}

# Where the Python with TensorFlow is that the parity tests compare with: a
# folder for each list of packages.
parity_environment() {
  local list
  list=$(cksum <"$root/scripts/requirements-parity.txt")
  echo "$cache/venv-$tensorflow_version-${list%% *}"
}
