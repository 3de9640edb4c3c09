#!/usr/bin/env python3
# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Makes one C++ file of the fragments of code in pages of documentation.

usage: doc_fragments.py OUTPUT PAGE...

Each block of C++ becomes a method of a class of its own, which inherits what
examples/guide/fragments.h gives to all; one that includes something becomes a
namespace of its own. Blocks that follow `<!-- FILE -->` stand in a program and
are left to check_guide.py. The compiler tells errors by page and line.
"""

import os
import re
import sys

BLOCK = re.compile(r"(?P<mark><!-- \S+ -->\n+)?^```cpp\n(?P<code>.*?)^```$",
                   re.DOTALL | re.MULTILINE)


def fragments_of(page, text):
    """Yields the C++ for each fragment of a page."""
    stem = re.sub(r"\W", "_", os.path.basename(page))
    for block in BLOCK.finditer(text):
        if block["mark"]:
            continue
        line = text.count("\n", 0, block.start("code")) + 1
        name = f"{stem}_{line}"
        code = f'#line {line} "{page}"\n{block["code"]}'
        if "#include" in code:
            yield f"namespace {name} {{\n{code}}}  // namespace {name}\n"
        else:
            yield f"struct {name} : Given {{\nabsl::Status Run() {{\n{code}" \
                  "return absl::OkStatus();\n}\n};\n"


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    made = ['#include "examples/guide/fragments.h"\n']
    for page in sys.argv[2:]:
        with open(page, encoding="utf-8") as source:
            made += fragments_of(page, source.read())
    if len(made) == 1:
        sys.exit("the pages hold no fragment")
    with open(sys.argv[1], "w", encoding="utf-8") as output:
        output.write("\n".join(made))


if __name__ == "__main__":
    main()
