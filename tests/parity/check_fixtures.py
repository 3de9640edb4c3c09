# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Checks that the committed fixtures are what Python TensorFlow does today.

    check_fixtures.py [--program PROGRAM] [FIXTURES]

Makes the fixtures again in a temporary folder, all or those of one program of
this folder, and compares every JSON file
with the committed one: floats within common.TOLERANCE, everything else
exactly. Binary files differ between TensorFlow versions and are compared
through what expected.json says of them. FIXTURES is by default the folder
beside this program. Exit code 1 when something differs, one line on stderr for
each difference.
"""

import argparse
import glob
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile

import common

HERE = os.path.dirname(os.path.abspath(__file__))
# What may differ: which version wrote the file, how many nodes it made, and in
# how many pieces an iterator is kept, which tells how far it had read ahead.
VERSION_KEYS = ("nodes", "tensorflow_version")
ITERATOR_STATE = "_STATE"


def differences(committed, made, where):
    """A line for each place where two JSON values differ."""
    if isinstance(committed, dict) and isinstance(made, dict):
        for key in sorted(committed.keys() | made.keys()):
            if key in VERSION_KEYS:
                continue
            if key.endswith(ITERATOR_STATE) and key in committed.keys() & made:
                continue
            if key not in committed or key not in made:
                yield f"{where}.{key}: only in one of the two"
                continue
            yield from differences(committed[key], made[key], f"{where}.{key}")
    elif isinstance(committed, list) and isinstance(made, list):
        if len(committed) != len(made):
            yield f"{where}: {len(committed)} items, now {len(made)}"
        for index, pair in enumerate(zip(committed, made)):
            yield from differences(*pair, f"{where}[{index}]")
    elif not _same(committed, made):
        yield f"{where}: {committed!r}, now {made!r}"


def _same(committed, made):
    if isinstance(committed, float) and isinstance(made, float):
        return math.isclose(committed, made, rel_tol=common.TOLERANCE,
                            abs_tol=common.TOLERANCE)
    return committed == made


# Program -> its arguments for a folder.
PROGRAMS = {
    "make_metagraph.py": lambda folder: [folder],
    "lifecycle_trace.py":
        lambda folder: ["--out", os.path.join(folder, "lifecycle.json")],
    "scenario_trace.py": lambda folder: [folder],
}


def _make(program, folder):
    subprocess.run(
        [sys.executable, os.path.join(HERE, program),
         *PROGRAMS[program](folder)], check=True)


def _names(folder):
    paths = glob.glob(os.path.join(folder, "**", "*.json"), recursive=True)
    return {os.path.relpath(path, folder) for path in paths}


def _load(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


def compare(committed, made, everything):
    """All differences between two folders, of which the second has less."""
    only = _names(made) - _names(committed)
    if everything:
        only |= _names(committed) - _names(made)
    for name in sorted(only):
        yield f"{name}: only in one of the two"
    for name in sorted(_names(committed) & _names(made)):
        yield from differences(_load(committed, name), _load(made, name), name)


def main():
    """Exits with code 1 when a fixture differs."""
    parser = argparse.ArgumentParser(
        description="Compare the committed fixtures with new ones.")
    parser.add_argument("fixtures", nargs="?",
                        default=os.path.join(HERE, "fixtures"))
    parser.add_argument("--program", choices=PROGRAMS,
                        help="default: all")
    arguments = parser.parse_args()
    programs = [arguments.program] if arguments.program else PROGRAMS
    folder = tempfile.mkdtemp(prefix="tftrain_fixtures_")
    try:
        for program in programs:
            _make(program, folder)
        lines = list(compare(arguments.fixtures, folder,
                             everything=not arguments.program))
    finally:
        shutil.rmtree(folder)
    if lines:
        common.fail("the fixtures differ\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
