#!/usr/bin/env bash
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# From a bare clone to a trained model: installs what is missing, builds the
# example char_lm, trains it halfway, and lets a second process resume from the
# checkpoint and finish. Ended at any moment, it goes on where it was when it is
# started again.
#
# usage: scripts/demo.sh [--run-dir DIR] [--text PATH...] [--steps N]
#   --run-dir DIR   where checkpoints and summaries go (runs/char_lm); if the
#                   run in it is finished, a new one goes to DIR-2, DIR-3, ...
#   --text PATH...  text to learn from, instead of the example's own
#   --steps N       steps of training
# Whatever else is given is passed on to char_lm.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-1}
run_dir=$root/runs/char_lm
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --run-dir)
      run_dir=${2:?"--run-dir needs a folder"}
      shift
      ;;
    --run-dir=*) run_dir=${1#*=} ;;
    -h | --help)
      sed -n '5,/^$/s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
run_dir=${run_dir%/}

# The file `stage` in a run's folder says how far that run has come.
stage() { cat "$1/stage" 2>/dev/null || echo new; }

choose_run_dir() {
  local finished=$run_dir number=2
  [ "$(stage "$run_dir")" = finished ] || return 0
  while [ "$(stage "$finished-$number")" = finished ]; do
    number=$((number + 1))
  done
  run_dir=$finished-$number
  say "The run in $finished is finished and is left as it is"
}

use_cache_folder
install_build_tools
configure
build char_lm
char_lm=$(program examples/char_lm)

choose_run_dir
mkdir -p "$run_dir"
if [ "$(stage "$run_dir")" = new ]; then
  say "Training the first half in $run_dir"
  "$char_lm" --run-dir "$run_dir" --stop-at-fraction 0.5 "${arguments[@]}"
  echo half >"$run_dir/stage"
fi
say "Another process resumes from the checkpoint in $run_dir"
"$char_lm" --run-dir "$run_dir" "${arguments[@]}"
echo finished >"$run_dir/stage"
say "Done. Checkpoints and summaries are in $run_dir"
