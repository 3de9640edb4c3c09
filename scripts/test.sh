#!/usr/bin/env bash
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# From a bare clone to every test run: installs what is missing, builds, and
# runs the tests. The last line counts single tests. Ends with 1 if one failed.
#
# usage: scripts/test.sh [CTEST-ARGUMENT...]
#   scripts/test.sh -R hooks     tests whose name matches
#   scripts/test.sh -L parity    tests with a label

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# Python TensorFlow, in an environment of its own, for the tests that compare
# with it; without it they are skipped.
use_python_tensorflow() {
  local environment requirements machine
  environment=$(parity_environment)
  if ! [ -e "$environment/complete" ]; then
    say "Installing Python TensorFlow $tensorflow_version into $environment"
  fi
  machine=$(python3 -c 'import sys, platform
print("%d.%d" % sys.version_info[:2], platform.machine())')
  if [ "$machine" = "3.11 x86_64" ]; then
    requirements=(--require-hashes -r "$root/scripts/requirements-parity.txt")
  else
    say "Python is $machine, and the checked list of packages is for 3.11" \
      "x86_64: taking tensorflow-cpu $tensorflow_version and what pip adds"
    requirements=("tensorflow-cpu==$tensorflow_version" tensorboard)
  fi
  if make_environment "$environment" "${requirements[@]}"; then
    export TFTRAIN_PYTHON="$environment/bin/python"
  else
    say "Python TensorFlow could not be installed; tests that need it skip"
  fi
}

use_cache_folder
install_build_tools
configure
build all
use_python_tensorflow

say "Running the tests"
rm -rf "$build/test_results"
mkdir -p "$build/test_results"
failed=0
ctest --test-dir "$build" --output-on-failure --parallel "$(nproc)" \
  --no-tests=error --output-junit "$build/test_results/ctest.xml" "$@" \
  </dev/null || failed=1
python3 "$root/scripts/count_tests.py" "$build/test_results" || failed=1
exit $failed
