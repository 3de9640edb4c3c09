#!/bin/sh
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# What char_lm tells its user: char_lm_test.sh PROGRAM FOLDER

set -eu
# shellcheck source=examples/expect.sh
. "$(dirname "$0")/expect.sh"
program=$1
dir=$2
sources=$(dirname "$0")

run() {
  want=$1 text=$2
  shift 2
  expect "$want" "$text" --run-dir "$dir/run" --text "$sources" --steps 40 "$@"
}

run 0 'stopped at step 20 of 40' --stop-at-fraction 0.5
run 0 'resuming from .*/run/model.ckpt-20: step 20 of 40'
grep -q 'the model writes' "$dir/said"
run 0 'this run is complete already'

expect 0 'usage:' --help
expect 2 'unknown argument "--stpes"' --stpes 3
expect 2 -- '--stop-at-fraction cannot take "1.5"' --stop-at-fraction 1.5
expect 1 '"/no/such/text"' --run-dir "$dir/other" --text /no/such/text
printf 'too short' >"$dir/short"
expect 1 'only 9 characters' --run-dir "$dir/other" --text "$dir/short"
printf 'no folder' >"$dir/file"
expect 1 "$dir/file" --run-dir "$dir/file" --text "$sources"
seq 2000 >"$dir/numbers"
expect 1 'embedding' --run-dir "$dir/run" --text "$dir/numbers"
tr 1 x <"$dir/numbers" >"$dir/letters"
expect 0 'fresh start' --run-dir "$dir/n" --text "$dir/numbers" --steps 2
expect 1 'other text' --run-dir "$dir/n" --text "$dir/letters" --steps 4
