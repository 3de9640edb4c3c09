#!/usr/bin/env bash
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# Formats every C++ file of the repository, or tells what is not formatted.
#
# usage: scripts/format.sh [--check]

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

mode=(-i)
case ${1:-} in
  "") ;;
  --check) mode=(--dry-run --Werror) ;;
  *) die "unknown argument \"$1\"; usage: scripts/format.sh [--check]" ;;
esac
command -v clang-format >/dev/null || install_packages clang-format
cd "$root"
find tftrain examples benchmarks tests \
  \( -name '*.cc' -o -name '*.h' \) -print0 |
  xargs -0 --no-run-if-empty clang-format --style=file "${mode[@]}"
