#!/usr/bin/env python3
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of check_layers.py, on small trees of its own."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).with_name("check_layers.py")


class CheckLayersTest(unittest.TestCase):

  def check(self, files, built=None):
    """The exit code and the output for a tree of {path: text}. Each layer
    builds its sources, or those of the list `built`."""
    files = dict(files)
    for layer in {name.split("/")[0] for name in files if "/" in name}:
      sources = built or " ".join(
          name[len(layer) + 1:] for name in files
          if name.startswith(layer + "/"))
      files[layer + "/CMakeLists.txt"] = f"library(SRCS {sources})\n"
    with tempfile.TemporaryDirectory() as root:
      for name, text in files.items():
        path = pathlib.Path(root, "tftrain", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
      done = subprocess.run([sys.executable, str(SCRIPT), root], check=False,
                            capture_output=True, text=True)
      return done.returncode, done.stdout

  def test_accepts_own_and_upper_layers(self):
    code, output = self.check({
        "base/a.h": '#include "absl/status/status.h"\n',
        "graph/b.h": '#include "tftrain/base/a.h"\n',
        "graph/c.cc": '#include "tftrain/graph/b.h"\n',
        "monitored/internal/d.cc": '#include "tftrain/hooks/e.h"\n',
        "tftrain.h": '#include "tftrain/monitored/d.h"\n',
    })
    self.assertEqual(code, 0, output)
    self.assertIn("4 files checked, 0 problems", output)

  def test_rejects_a_source_that_is_not_built(self):
    files = {"base/a.cc": "", "base/internal/a.cc": "", "base/a.h": ""}
    self.assertEqual(self.check(files, built="a.cc internal/a.cc")[0], 0)
    for built, missing in (("a.cc", "base/internal/a.cc"),
                           ("internal/a.cc", "base/a.cc"),
                           ("aa.cc internal/a.cc", "base/a.cc")):
      code, output = self.check(files, built)
      self.assertEqual(code, 1, built)
      self.assertIn(missing + ": no CMakeLists.txt names it", output)

  def test_rejects_a_lower_layer_and_names_the_line(self):
    code, output = self.check({
        "graph/b.h": '// b\n#include "tftrain/session/session.h"\n',
    })
    self.assertEqual(code, 1)
    self.assertIn("graph/b.h:2: layer 'graph' may not include layer 'session'",
                  output)

  def test_rejects_other_ways_to_write_an_include(self):
    for line in ("#include <tftrain/hooks/h.h>",
                 '#  include "tftrain/hooks/h.h"',
                 '  #include "tftrain/hooks/h.h"  // why'):
      code, output = self.check({"base/a.cc": line + "\n"})
      self.assertEqual(code, 1, line + "\n" + output)

  def test_only_tests_may_use_testing(self):
    line = '#include "tftrain/testing/matchers.h"\n'
    for test in "base/a_test.cc", "base/a_test_fixture.h":
      self.assertEqual(self.check({test: line})[0], 0, test)
    for other in "base/a.cc", "base/a_tester.cc", "base/test_a.h":
      self.assertEqual(self.check({other: line})[0], 1, other)

  def test_rejects_the_umbrella_header_within_a_layer(self):
    code, _ = self.check({"hooks/a.cc": '#include "tftrain/tftrain.h"\n'})
    self.assertEqual(code, 1)

  def test_rejects_an_unknown_layer(self):
    self.assertEqual(self.check({"extras/a.cc": ""})[0], 1)
    code, _ = self.check({"base/a.cc": '#include "tftrain/extras/b.h"\n'})
    self.assertEqual(code, 1)

  def test_rejects_a_tree_without_sources(self):
    self.assertEqual(self.check({})[0], 1)


if __name__ == "__main__":
  unittest.main()
