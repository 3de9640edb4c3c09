#!/usr/bin/env python3
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Checks that no layer of tftrain includes a layer below it, and that each
source is built.

usage: check_layers.py ROOT

A folder of ROOT/tftrain is a layer. A file in it may include headers of its
own layer and of the layers before it in LAYERS. Tests (x_test.cc, and helpers
such as x_test_fixture.h) may include `testing` too; the umbrella header
includes what it likes, and no layer includes it. A source is named in the
CMakeLists.txt of its layer.
Prints each offending line or file and exits with 1 if there is one.
"""

import pathlib
import re
import sys

LAYERS = ("base", "graph", "optimizers", "session", "checkpoint", "summary",
          "coordination", "setup", "hooks", "monitored", "testing")
INCLUDE = re.compile(r'\s*#\s*include\s*["<]tftrain/([^">]+)[">]')

TEST = re.compile(r"_test(_|$)")


def problem(layer, is_test, included):
  """Says what is wrong with including tftrain/`included`, or None."""
  if "/" not in included:
    return "a layer may not include the headers that stand above all layers"
  target = included.split("/")[0]
  if target not in LAYERS:
    return f"'{target}' is no layer"
  if is_test and target == "testing":
    return None
  if LAYERS.index(target) > LAYERS.index(layer):
    return f"layer '{layer}' may not include layer '{target}' below it"
  return None


def named_sources(layer_folder):
  """The words of a layer's CMakeLists.txt."""
  listing = layer_folder / "CMakeLists.txt"
  return set(re.findall(r"[^\s()]+", listing.read_text(encoding="utf-8"))
             if listing.exists() else [])


def main(root):
  found = 0
  named = {layer: named_sources(root / "tftrain" / layer) for layer in LAYERS}
  checked = 0
  for path in sorted((root / "tftrain").rglob("*")):
    if path.suffix not in (".h", ".cc"):
      continue
    inside = path.relative_to(root / "tftrain")
    if len(inside.parts) == 1:
      continue
    layer = inside.parts[0]
    if layer not in LAYERS:
      print(f"{path}: the folder '{layer}' is no layer; name it in LAYERS of "
            f"{sys.argv[0]}")
      found += 1
      continue
    checked += 1
    if path.suffix == ".cc" and (
        inside.relative_to(layer).as_posix() not in named[layer]):
      print(f"{path}: no CMakeLists.txt names it, so that it is not built")
      found += 1
    is_test = TEST.search(path.stem)
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
      match = INCLUDE.match(line)
      wrong = match and problem(layer, is_test, match.group(1))
      if wrong:
        print(f"{path}:{number}: {wrong}: {line.strip()}")
        found += 1
  if not checked:
    print(f"{root / 'tftrain'} holds no source of any layer; name the root of "
          "the repository")
    return 1
  print(f"{checked} files checked, {found} problems")
  return 1 if found else 0


if __name__ == "__main__":
  if len(sys.argv) != 2:
    print("usage: check_layers.py ROOT", file=sys.stderr)
    sys.exit(2)
  sys.exit(main(pathlib.Path(sys.argv[1])))
