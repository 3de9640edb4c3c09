#!/usr/bin/env python3
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Tells how each behaviour of Python's tf.compat.v1.train stands here.

Prints one line for each ID of docs/behaviours.txt:

  SMS-07 tested NAME     a test shows it; NAME is what --gtest_filter takes
  SMS-09 different       the ID stands in the first column of docs/parity.md
  SMS-11 missing         neither

A test names its IDs in comments: directly above it, on its first line, or
inside it. In a file with one TEST_P, the entries of its table ({"name", ...})
name theirs in the same places, and NAME ends with the entry's name.

Exits with 1 if a test file or docs/parity.md names an ID that is not listed,
if a test that is named is in no test program of the build folder, or if a
behaviour that --check asks for is missing.
"""

import argparse
import fnmatch
import os
import pathlib
import re
import subprocess
import sys
import typing

ID = re.compile(r"\b[A-Z]{2,5}-\d\d\b")
RANGE = re.compile(r"\b([A-Z]{2,5}-)(\d\d) to \1(\d\d)\b")
# The code of a line and its comment, if it has one.
LINE = re.compile(r"""((?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])'|[^"/]|/(?!/))*)"""
                  r"(?://(.*))?")
TEST = re.compile(r"(TEST|TEST_F|TEST_P|TYPED_TEST)\(\s*(\w+),\s*(\w+)\s*\)")
INSTANCE = re.compile(r"^INSTANTIATE_TEST_SUITE_P\(\s*(\w+),\s*(\w+)", re.M)
ENTRY = re.compile(r'(\s+)\w*\{"(\w+)"')
SOURCES = ("tftrain", "tests", "tools", "examples", "benchmarks")


class Mention(typing.NamedTuple):
  """A comment of a test file."""
  where: str  # FILE:LINE
  comment: str
  test: str  # what --gtest_filter takes; "" for a comment on no test


def listed_behaviours(path):
  """The IDs of docs/behaviours.txt, in order."""
  lines = path.read_text(encoding="utf-8").splitlines()
  return [line for line in lines if line and not line.startswith("#")]


def ids_in(text, listed):
  """The IDs that `text` names, also those inside a range of them."""
  ids = ID.findall(text)
  for section, first, last in RANGE.findall(text):
    numbers = range(int(first) + 1, int(last))
    ids += [id for id in (f"{section}{n:02}" for n in numbers) if id in listed]
  return ids


def filter_name(kind, suite, name, instances, entry=""):
  """The name under which GoogleTest lists a test, `*` for what it adds."""
  if kind == "TEST_P":
    return f"{instances.get(suite, '*')}/{suite}.{name}/{entry or '*'}"
  return f"{suite}/*.{name}" if kind == "TYPED_TEST" else f"{suite}.{name}"


def mentions_in(path, root):
  """The comments of a test file, each with the test it belongs to."""
  text = path.read_text(encoding="utf-8")
  instances = {suite: prefix for prefix, suite in INSTANCE.findall(text)}
  tables = [test for test in TEST.findall(text) if test[0] == "TEST_P"]
  lines = text.splitlines()
  test, entry, above, indentation = "", "", [], ""
  for i, line in enumerate(lines):
    code, comment = LINE.match(line).groups()
    here = []
    if comment:
      here = [(f"{path.relative_to(root)}:{i + 1}", comment)]
    if test:
      yield from (Mention(*mention, test) for mention in here)
      test = "" if line == "}" else test
      continue
    if here and not code.strip():
      above += here
      continue
    starts = TEST.match(" ".join(lines[i:i + 3]))
    names = ENTRY.match(code) if len(tables) == 1 else None
    if names:  # what is deeper than the first entry belongs to an entry
      indentation = indentation or names[1]
      names = names if names[1] == indentation else None
    if starts:
      test, entry = filter_name(*starts.groups(), instances), ""
    elif names:
      entry = filter_name(*tables[0], instances, names[2])
    elif not line.startswith(" "):
      entry = ""
    yield from (Mention(*mention, test or entry) for mention in above + here)
    above = []
    if code.rstrip().endswith("}") and starts:  # all of the test is this line
      test = ""


def programs_in(build):
  """The test programs of a build folder."""
  return [path for path in sorted(build.rglob("*_test"))
          if path.is_file() and os.access(path, os.X_OK)]


def tests_of(program):
  """The names of the tests that a program holds."""
  done = subprocess.run([str(program), "--gtest_list_tests"], check=True,
                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                        text=True)
  suite = ""
  for line in done.stdout.splitlines():
    name = line.split("#")[0].strip()
    if line.startswith(" "):
      yield suite + name
    else:
      suite = name


class Report:
  """What was found, and what is wrong with it."""

  def __init__(self, root):
    self.root = root
    self.listed = listed_behaviours(root / "docs/behaviours.txt")
    self.tests = {}  # the tests of each ID, in the order of the files
    self.different = set()
    self.errors = []
    self._read_tests()
    self._read_differences()

  def status(self, behaviour):
    """The line for one ID."""
    if behaviour in self.different:
      return f"{behaviour} different"
    if behaviour in self.tests:
      return f"{behaviour} tested {self.tests[behaviour][0]}"
    return f"{behaviour} missing"

  def compare_with(self, programs):
    """Notes each test that none of `programs` holds."""
    held = [name for program in programs for name in tests_of(program)]
    for name in sorted({name for names in self.tests.values()
                        for name in names}):
      if not fnmatch.filter(held, name):
        self.errors.append(f"{name} is in no test program; list its file in "
                           "CMakeLists.txt, or build it")

  def check(self, sections):
    """Notes each ID of `sections` that is missing."""
    for line in self.lines(sections):
      if line.endswith(" missing"):
        self.errors.append(f"{line}: name it in a test, or add a row to "
                           "docs/parity.md")

  def lines(self, sections):
    """The lines for the IDs of `sections`, for all if there are none."""
    return [self.status(id) for id in self.listed
            if not sections or id.split("-")[0] in sections]

  def _known_ids(self, where, text):
    for behaviour in ids_in(text, self.listed):
      if behaviour in self.listed:
        yield behaviour
      else:
        self.errors.append(
            f"{where}: {behaviour} is not in docs/behaviours.txt")

  def _read_tests(self):
    for folder in SOURCES:
      for path in sorted((self.root / folder).rglob("*_test.cc")):
        for mention in mentions_in(path, self.root):
          for id in self._known_ids(mention.where, mention.comment):
            if mention.test:
              self.tests.setdefault(id, []).append(mention.test)

  def _read_differences(self):
    path = self.root / "docs/parity.md"
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
      if line.startswith("|"):
        self.different.update(self._known_ids(f"docs/parity.md:{number}",
                                              line.split("|")[1]))


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--section", default="", metavar="SMS,STEP",
                      help="print these sections only")
  parser.add_argument("--check", default="", metavar="SMS,STEP",
                      help="fail if a behaviour of these sections is missing")
  parser.add_argument("--build", type=pathlib.Path, metavar="DIR",
                      help="compare with the test programs of this build "
                      "folder; default: build/release if it is there")
  parser.add_argument("--root", type=pathlib.Path, metavar="DIR",
                      default=pathlib.Path(__file__).resolve().parents[1],
                      help="the repository; default: that of this script")
  arguments = parser.parse_args()

  report = Report(arguments.root)
  sections = {id.split("-")[0] for id in report.listed}
  asked, checked = ([name for name in option.split(",") if name]
                    for option in (arguments.section, arguments.check))
  for name in asked + checked:
    if name not in sections:
      parser.error(f"there is no section {name}; the sections are "
                   f"{', '.join(sorted(sections))}")

  build = arguments.build or arguments.root / "build/release"
  programs = programs_in(build)
  if programs:
    report.compare_with(programs)
  elif arguments.build:
    report.errors.append(f"{build} holds no test program; build it first")
  else:
    print("The names of the tests were not compared with a build; give one "
          "with --build", file=sys.stderr)
  if checked:
    report.check(checked)
  for line in report.lines(asked):
    print(line)
  for error in report.errors:
    print(f"error: {error}", file=sys.stderr)
  return 1 if report.errors else 0


if __name__ == "__main__":
  sys.exit(main())
