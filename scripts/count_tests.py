#!/usr/bin/env python3
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Counts the tests of one ctest run.

usage: count_tests.py FOLDER

FOLDER holds ctest.xml, what `ctest --output-junit` wrote, and NAME.json, what
GoogleTest wrote, for each ctest entry that is a GoogleTest program. Such an
entry counts as many tests as it holds, any other as one. An entry that failed
without a failed test in it (it crashed, or took too long) counts as one failed
test more, and so does one that could not be started. Prints one line,
`N passed, N failed, N skipped`, and exits with 1 if a test failed or none
passed.
"""

import collections
import json
import pathlib
import sys
import xml.etree.ElementTree


def count_googletest(path):
  """The results of the single tests in a file that GoogleTest wrote."""
  counts = collections.Counter()
  for suite in json.loads(path.read_text(encoding="utf-8"))["testsuites"]:
    for test in suite["testsuite"]:
      if test.get("failures"):
        counts["failed"] += 1
      elif test["status"] != "RUN" or test.get("result") == "SKIPPED":
        counts["skipped"] += 1
      else:
        counts["passed"] += 1
  return counts


def count_entry(case, folder):
  """The results of one ctest entry."""
  counts = collections.Counter()
  if case.get("status") == "disabled":
    counts["skipped"] += 1
    return counts
  if case.get("status") == "notrun":
    reason = case.find("skipped")
    by_itself = (reason is not None and
                 reason.get("message", "").startswith("SKIP_"))
    counts["skipped" if by_itself else "failed"] += 1
    return counts
  path = folder / (case.get("name") + ".json")
  if path.exists():
    try:
      counts = count_googletest(path)
    except (ValueError, KeyError):
      counts = collections.Counter()
  if case.get("status") == "fail":
    if not counts["failed"]:
      counts["failed"] += 1
  elif not counts:
    counts["passed"] += 1
  return counts


def main(folder):
  total = collections.Counter()
  report = folder / "ctest.xml"
  if report.exists():
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
      total += count_entry(case, folder)
  else:
    total["failed"] += 1
    print(f"{report} is missing: ctest did not run to its end")
  print(f"{total['passed']} passed, {total['failed']} failed, "
        f"{total['skipped']} skipped")
  return 0 if total["passed"] and not total["failed"] else 1


if __name__ == "__main__":
  if len(sys.argv) != 2:
    print("usage: count_tests.py FOLDER", file=sys.stderr)
    sys.exit(2)
  sys.exit(main(pathlib.Path(sys.argv[1])))
