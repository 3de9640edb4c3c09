#!/usr/bin/env python3
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of count_tests.py, on small reports of its own."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).with_name("count_tests.py")
PASSED = {"status": "RUN", "result": "COMPLETED"}
FAILED = {"status": "RUN", "result": "COMPLETED", "failures": [{}]}
SKIPPED = {"status": "RUN", "result": "SKIPPED"}
DISABLED = {"status": "NOTRUN", "result": "SUPPRESSED"}


class CountTestsTest(unittest.TestCase):

  def count(self, entries, programs):
    """The exit code and last line for ctest entries and their GoogleTests."""
    with tempfile.TemporaryDirectory() as folder:
      cases = "".join(f'<testcase name="{name}" status="{status}">{inside}'
                      "</testcase>" for name, status, inside in entries)
      pathlib.Path(folder, "ctest.xml").write_text(
          f"<testsuite>{cases}</testsuite>", encoding="utf-8")
      for name, tests in programs.items():
        path = pathlib.Path(folder, name + ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        text = tests if isinstance(tests, str) else json.dumps(
            {"testsuites": [{"testsuite": tests}]})
        path.write_text(text, encoding="utf-8")
      done = subprocess.run([sys.executable, str(SCRIPT), folder], check=False,
                            capture_output=True, text=True)
      return done.returncode, done.stdout.splitlines()[-1]

  def test_counts_single_tests_and_other_entries_as_one(self):
    self.assertEqual(
        self.count([("base/a_test", "run", ""), ("install/x", "run", "")],
                   {"base/a_test": [PASSED, PASSED, SKIPPED, DISABLED]}),
        (0, "3 passed, 0 failed, 2 skipped"))

  def test_counts_each_failed_test(self):
    self.assertEqual(
        self.count([("a", "fail", ""), ("b", "fail", "")],
                   {"a": [PASSED, FAILED, FAILED]}),
        (1, "1 passed, 3 failed, 0 skipped"))

  def test_a_crash_is_a_failure_though_no_test_failed(self):
    self.assertEqual(self.count([("a", "fail", "")], {"a": [PASSED]}),
                     (1, "1 passed, 1 failed, 0 skipped"))
    self.assertEqual(self.count([("a", "fail", "")], {"a": "{ torn"}),
                     (1, "0 passed, 1 failed, 0 skipped"))

  def test_a_program_that_is_missing_is_a_failure(self):
    missing = '<skipped message="Unable to find executable"/>'
    self.assertEqual(
        self.count([("a", "notrun", missing), ("b", "run", "")], {}),
        (1, "1 passed, 1 failed, 0 skipped"))

  def test_an_entry_that_skips_itself_is_skipped(self):
    disabled = ("c", "disabled", "")
    itself = '<skipped message="SKIP_RETURN_CODE=77"/>'
    self.assertEqual(
        self.count([("a", "notrun", itself), ("b", "run", ""), disabled], {}),
        (0, "1 passed, 0 failed, 2 skipped"))

  def test_no_test_at_all_is_a_failure(self):
    self.assertEqual(self.count([], {})[0], 1)

  def test_a_run_without_a_report_is_a_failure(self):
    with tempfile.TemporaryDirectory() as folder:
      done = subprocess.run([sys.executable, str(SCRIPT), folder], check=False,
                            capture_output=True, text=True)
    self.assertEqual(done.returncode, 1)
    self.assertEqual(done.stdout.splitlines()[-1],
                     "0 passed, 1 failed, 0 skipped")


if __name__ == "__main__":
  unittest.main()
