#!/usr/bin/env bash
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# Runs the tests of tests/faults/ for hours instead of minutes: as many faults
# as the table in docs/reliability.md says. Ends with 1 if one failed.
#
# usage: scripts/stress.sh [TEST...]
#   scripts/stress.sh checkpoint_kill_test soak_test

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# How much is run: the test and the variables that say so.
longer() {
  cat <<'END'
checkpoint_async_faults_test TFTRAIN_FAULTS_SCHEDULES=20000
checkpoint_crash_test TFTRAIN_FAULTS_SCHEDULES=20
checkpoint_errors_test TFTRAIN_FAULTS_LEVELS=500
checkpoint_faults_parity_test TFTRAIN_FAULTS_STATES=2000
checkpoint_full_disk_test TFTRAIN_FAULTS_LEVELS=500
checkpoint_kill_test TFTRAIN_FAULTS_KILLS=1000
checkpoint_power_cut_test TFTRAIN_FAULTS_CUTS=300
checkpoint_syscalls_test TFTRAIN_FAULTS_HABITS=23
close_schedules_test TFTRAIN_FAULTS_SCHEDULES=100000
construction_faults_test
coordinator_schedules_test TFTRAIN_FAULTS_SCHEDULES=100000
event_faults_test TFTRAIN_FAULTS_KILLS=10000
hook_faults_test
hostile_folder_test TFTRAIN_FAULTS_EDITS=100000
input_faults_test
preemption_faults_test
soak_test TFTRAIN_FAULTS_CYCLES=20000
step_function_faults_test
two_writers_test TFTRAIN_FAULTS_CHIEFS=500
END
}

use_cache_folder
install_build_tools
configure
build all
python=$(parity_environment)/bin/python
if [ -z "${TFTRAIN_PYTHON:-}" ] && [ -x "$python" ]; then
  export TFTRAIN_PYTHON=$python
fi

# The command of a test, a word on each line: ctest itself would end it after
# the time that the ordinary run allows.
command_of() {
  ctest --test-dir "$build" --show-only=json-v1 -R "^tests/faults/$1\$" |
    python3 -c 'import json, sys
print("\n".join(json.load(sys.stdin)["tests"][0]["command"]))'
}

# The ordinary run has seen what follows the first seed.
export TFTRAIN_FAULTS_SEED=${TFTRAIN_FAULTS_SEED:-$((SRANDOM >> 1))}
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
failed=0
while read -r test setting; do
  if [ $# -gt 0 ] && ! [[ " $* " == *" $test "* ]]; then
    continue
  fi
  say "$test $setting"
  mapfile -t command < <(command_of "$test")
  env ${setting:+"$setting"} "${command[@]}" </dev/null || failed=1
done < <(longer)
exit $failed
