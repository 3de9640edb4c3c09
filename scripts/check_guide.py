#!/usr/bin/env python3
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Compares a page of documentation with the programs it shows.

usage: check_guide.py PAGE PROGRAMS RUN_DIR

A block of C++ that follows `<!-- FILE -->` must stand in that file, line by
line and in one piece. A block of text that follows `<!-- FILE prints -->` must
be what the program guide_NAME of the folder PROGRAMS prints, NAME being that of
the file. Programs get RUN_DIR/NAME as their argument.
"""

import os
import re
import subprocess
import sys

BLOCK = re.compile(r"<!-- (\S+\.cc)( prints)? -->\n+```[a-z]*\n(.*?)```",
                   re.DOTALL)


def shown_wrong(root, page, programs, run_dir):
    """Yields a sentence for each block that is not as it should be."""
    blocks = BLOCK.findall(page)
    if not blocks:
        yield "the page shows no program"
    for file, prints, block in blocks:
        if not prints:
            with open(os.path.join(root, file), encoding="utf-8") as source:
                if block not in source.read():
                    yield f"{file} does not hold the block beginning with " \
                          f"{block.splitlines()[0]!r}"
            continue
        name = os.path.splitext(os.path.basename(file))[0]
        done = subprocess.run(
            [os.path.join(programs, "guide_" + name),
             os.path.join(run_dir, name)],
            stdout=subprocess.PIPE, text=True, timeout=120, check=False)
        if done.returncode != 0:
            yield f"{file} ended with {done.returncode}"
        if done.stdout != block:
            yield f"{file} prints\n{done.stdout}and not\n{block}"


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    page, programs, run_dir = sys.argv[1:]
    with open(page, encoding="utf-8") as text:
        wrong = list(shown_wrong(os.path.dirname(os.path.dirname(page)),
                                 text.read(), programs, run_dir))
    for sentence in wrong:
        print(sentence)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
