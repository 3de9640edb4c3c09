#!/usr/bin/env bash
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# Builds the fuzz targets of tests/fuzz/ with clang's libFuzzer and the address
# and undefined behaviour sanitizers, and runs them one after the other. What
# they learn is kept in build/fuzz/corpus, what they find in build/fuzz/found.
#
# usage: scripts/fuzz.sh [TARGET|all [RUNS]]

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

targets=(index_table bundle v1_checkpoint state_text file_name meta_graph)
wanted=${1:-all}
runs=${2:-100000}
if [ "$wanted" != all ]; then
  case " ${targets[*]} " in
    *" $wanted "*) targets=("$wanted") ;;
    *) die "there is no target \"$wanted\"; name one of: ${targets[*]}" ;;
  esac
fi

use_cache_folder
install_build_tools
command -v clang++ >/dev/null || install_packages clang
cd "$root"
cmake --preset fuzz >&2
cmake --build --preset fuzz --target "${targets[@]/#/tftrain_fuzz_}" >&2

# TensorFlow leaks where it fails to decode a variant.
export ASAN_OPTIONS=detect_leaks=0:detect_odr_violation=0:detect_container_overflow=0:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
export TF_CPP_MIN_LOG_LEVEL=3
for target in "${targets[@]}"; do
  say "$target: $runs inputs"
  mkdir -p "build/fuzz/corpus/$target" "build/fuzz/found"
  "build/fuzz/tests/fuzz/tftrain_fuzz_$target" -runs="$runs" -timeout=5 \
    -rss_limit_mb=4096 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/found/$target-" "build/fuzz/corpus/$target"
done
