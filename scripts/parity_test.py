#!/usr/bin/env python3
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of parity.py, on a small repository of its own."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).with_name("parity.py")
BEHAVIOURS = ("# SPDX-License-Identifier: Apache-2.0\n\n# A section\n"
              "AB-01\nAB-02\nAB-04\n\n# Another\nABC-01\n")
TABLE = """
std::vector<Case> Cases() {
  return {
      // Some cases.
      {"first_case",  // AB-02
       [] { return "// AB-99"; }},
      // AB-04
      Case{"second_case", {1},
           // ABC-01: in the midst of it.
           {2}},
  };
}

TEST_P(TableTest, Goes) {}

INSTANTIATE_TEST_SUITE_P(
    Cases, TableTest, ::testing::ValuesIn(Cases()));
"""


class ParityTest(unittest.TestCase):

  def setUp(self):
    self.folder = tempfile.TemporaryDirectory()
    self.addCleanup(self.folder.cleanup)
    self.root = pathlib.Path(self.folder.name)
    self.write("docs/behaviours.txt", BEHAVIOURS)
    self.write("docs/parity.md", "")

  def write(self, name, text):
    path = self.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path

  def run_script(self, *arguments):
    """The exit code, the lines printed and the errors."""
    done = subprocess.run(
        [sys.executable, "-B", str(SCRIPT), "--root", str(self.root),
         *arguments], check=False, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines(), done.stderr

  def lines_for(self, test):
    """The lines for a repository with one test file."""
    self.write("tftrain/x_test.cc", test)
    code, lines, errors = self.run_script()
    self.assertEqual(code, 0, errors)
    return lines

  def test_a_comment_above_a_test_or_in_it_names_what_it_shows(self):
    self.assertEqual(
        self.lines_for("// AB-01, AB-02: words\n// and AB-04.\n"
                       "TEST_F(XTest,\n       Works) {\n  Run();  // ABC-01\n"
                       "}\n"),
        ["AB-01 tested XTest.Works", "AB-02 tested XTest.Works",
         "AB-04 tested XTest.Works", "ABC-01 tested XTest.Works"])

  def test_other_comments_and_strings_name_nothing(self):
    self.assertEqual(
        self.lines_for("// AB-01\n\nTEST(XTest, Works) {\n"
                       '  Run("// AB-02");\n}\n// AB-04\nint x;\n'),
        ["AB-01 missing", "AB-02 missing", "AB-04 missing", "ABC-01 missing"])

  def test_entries_of_a_table_are_tests(self):
    name = "tested Cases/TableTest.Goes/"
    self.assertEqual(
        self.lines_for(TABLE),
        ["AB-01 missing", f"AB-02 {name}first_case",
         f"AB-04 {name}second_case", f"ABC-01 {name}second_case"])

  def test_parameters_and_types_are_left_open(self):
    self.assertEqual(
        self.lines_for("TEST_P(PTest, A) {  // AB-01\n}\n"
                       "TEST_P(PTest, B) {}\n"
                       "INSTANTIATE_TEST_SUITE_P(All, PTest, Values(1));\n"
                       "TYPED_TEST(TTest, C) {  // AB-02\n}\n")[:2],
        ["AB-01 tested All/PTest.A/*", "AB-02 tested TTest/*.C"])

  def test_a_row_of_the_page_is_a_difference_also_in_a_range(self):
    self.write("docs/parity.md", "Text with AB-02.\n\n| ID | Python |\n"
               "| --- | --- |\n| AB-01 to AB-04, ABC-01 | x |\n")
    self.assertEqual(
        self.lines_for("TEST(XTest, Works) {  // AB-01\n}\n"),
        ["AB-01 different", "AB-02 different", "AB-04 different",
         "ABC-01 different"])

  def test_an_id_that_is_not_listed_is_an_error(self):
    self.write("tests/x_test.cc", "int x;\n// AB-03\nTEST(XTest, Works) {}\n")
    self.write("docs/parity.md", "| AB-09 | x |\n")
    code, _, errors = self.run_script()
    self.assertEqual(code, 1)
    self.assertIn("tests/x_test.cc:2: AB-03", errors)
    self.assertIn("docs/parity.md:1: AB-09", errors)

  def test_sections_are_told_apart(self):
    self.assertEqual(self.run_script("--section", "ABC")[1],
                     ["ABC-01 missing"])
    self.assertEqual(len(self.run_script("--section", "AB,ABC")[1]), 4)
    code, _, errors = self.run_script("--section", "XY")
    self.assertEqual(code, 2)
    self.assertIn("there is no section XY", errors)

  def test_what_is_missing_is_an_error_only_where_it_is_checked(self):
    self.write("docs/parity.md", "| ABC-01 | x |\n")
    self.assertEqual(self.run_script("--check", "ABC")[0], 0)
    code, _, errors = self.run_script("--check", "ABC,AB")
    self.assertEqual(code, 1)
    self.assertIn("AB-02 missing", errors)
    self.assertNotIn("ABC-01", errors)

  def test_a_test_must_be_in_a_program_of_the_build(self):
    program = self.write(
        "build/release/x/x_test",
        "#!/bin/sh\necho 'Running main()'\necho 'Cases/TableTest.'\n"
        "echo '  Goes/first_case  # GetParam() = 1'\n")
    program.chmod(0o755)
    self.write("tftrain/x_test.cc", TABLE)
    code, _, errors = self.run_script()
    self.assertEqual(code, 1)
    self.assertIn("Cases/TableTest.Goes/second_case is in no test program",
                  errors)
    self.assertNotIn("first_case", errors)

  def test_a_build_folder_without_programs_is_an_error(self):
    self.assertEqual(self.run_script("--build", str(self.root))[0], 1)


if __name__ == "__main__":
  unittest.main()
