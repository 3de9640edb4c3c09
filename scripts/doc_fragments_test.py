#!/usr/bin/env python3
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of doc_fragments.py, on small pages of its own."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).with_name("doc_fragments.py")


class DocFragmentsTest(unittest.TestCase):

  def made_of(self, text):
    """The exit code and the output for one page, "page.md"."""
    with tempfile.TemporaryDirectory() as root:
      page = pathlib.Path(root, "page.md")
      page.write_text(text, encoding="utf-8")
      output = pathlib.Path(root, "fragments.cc")
      done = subprocess.run([sys.executable, str(SCRIPT), str(output),
                             str(page)], check=False, capture_output=True)
      made = output.read_text(encoding="utf-8") if output.exists() else ""
      return done.returncode, made.replace(root + "/", "")

  def test_makes_a_method_that_the_compiler_knows_by_its_line(self):
    code, made = self.made_of("# Page\n\n```cpp\nf(1);\n```\n")
    self.assertEqual(code, 0)
    self.assertIn('struct page_md_4 : Given {\nabsl::Status Run() {\n'
                  '#line 4 "page.md"\nf(1);\nreturn absl::OkStatus();\n', made)

  def test_a_block_that_includes_stands_alone(self):
    _, made = self.made_of("```cpp\n#include <x>\nvoid F();\n```\n")
    self.assertIn('namespace page_md_2 {\n#line 2 "page.md"\n#include <x>\n'
                  'void F();\n}', made)

  def test_leaves_programs_and_other_languages_out(self):
    code, made = self.made_of("<!-- a.cc -->\n```cpp\nprogram\n```\n\n"
                              "```\ntext\n```\n\n```cpp\nf(2);\n```\n")
    self.assertEqual(code, 0)
    self.assertIn("f(2);", made)
    self.assertNotIn("program", made)
    self.assertNotIn("text", made)

  def test_a_page_without_a_fragment_is_an_error(self):
    code, made = self.made_of("<!-- a.cc -->\n```cpp\nprogram\n```\n")
    self.assertEqual((code, made), (1, ""))


if __name__ == "__main__":
  unittest.main()
