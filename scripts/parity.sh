#!/usr/bin/env bash
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# Prints for each behaviour of docs/behaviours.txt the test that shows it, or
# that docs/parity.md tells of a difference, or that it is missing.
#
# usage: scripts/parity.sh [--section SMS,STEP] [--check SMS,STEP] [--build DIR]

exec python3 -B "$(dirname "$0")/parity.py" "$@"
