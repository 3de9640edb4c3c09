# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# For the tests of the examples, which set `program` and `dir`.
#
# shellcheck shell=sh

# expect CODE TEXT ARGUMENT...: the program ends with CODE and says TEXT, and
# what it says stands in $dir/said.
expect() {
  want=$1 text=$2
  shift 2
  code=0
  "$program" "$@" >"$dir/said" 2>&1 || code=$?
  if [ "$code" != "$want" ] || ! grep -q -e "$text" "$dir/said"; then
    echo "$program $*: code $code instead of $want, or no \"$text\" in:"
    cat "$dir/said"
    exit 1
  fi
}
