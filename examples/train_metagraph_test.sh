#!/bin/sh
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# What train_metagraph tells its user:
# train_metagraph_test.sh PROGRAM FOLDER META

set -eu
# shellcheck source=examples/expect.sh
. "$(dirname "$0")/expect.sh"
program=$1
dir=$2
meta=$3

run="--run-dir $dir/run --save-steps 5"
expect 0 'ended by stop requested at step 7' "$meta" $run --max-steps 7
expect 0 'resuming at step 7' "$meta" $run
grep -q 'ended by end of input at step 19' "$dir/said"
grep -q "newest checkpoint: $dir/run/model.ckpt-19" "$dir/said"

expect 2 'usage:'
expect 1 'no/such.meta' no/such.meta $run
printf 'garbage' >"$dir/garbage.meta"
expect 1 'is not a MetaGraph' "$dir/garbage.meta" $run
