#!/usr/bin/env bash
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# Builds and runs one program of benchmarks/, which prints a line
# `figure value unit` for each figure.
#
# usage: scripts/bench.sh NAME [ARGUMENT...]

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

if [ $# -eq 0 ]; then
  names=$(sed -n 's/.*(NAME bench_\([a-z0-9_]*\).*/\1/p' \
    "$root/benchmarks/CMakeLists.txt" | tr '\n' ' ')
  die "name a benchmark: $names"
fi
name=$1
shift

use_cache_folder
install_build_tools
configure
build "bench_$name"
python=$(parity_environment)/bin/python
if [ -z "${TFTRAIN_PYTHON:-}" ] && [ -x "$python" ]; then
  export TFTRAIN_PYTHON=$python
fi
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-1}
exec "$(program "benchmarks/bench_$name")" "$@"
