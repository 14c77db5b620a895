#!/usr/bin/env python3
"""Joins C++ files into few that include them, so that headers are compiled once for all of them.

  unity.py FOLDER FILE...

Writes FOLDER/0.cc, 1.cc, ... and prints their paths, one a line. What a file has in its unnamed
namespace is its own: no file is joined with one that defines a name that it uses, or uses one that it
defines. That is found by words, so that a file may stand apart without need.
"""

import re
import sys
from pathlib import Path

FILES_AT_MOST = 12
UNNAMED = re.compile(r"^namespace \{$(.*?)^\}  // namespace$", re.MULTILINE | re.DOTALL)
TEMPLATE_ARGUMENTS = re.compile(r"<[^<>]*>")
TYPE = re.compile(r"(?:class|struct|enum class|enum|union) (\w+)|using (\w+) =")
VALUE = re.compile(r"(\w+)\s*[({=;\[]")
COMMENT_OR_STRING = re.compile(r'//.*|"(?:[^"\\\n]|\\.)*"')


def own_names(text):
    """Those of a line that is not indented: what is indented is a part of them."""
    names = set(re.findall(r"^#define (\w+)", text, re.MULTILINE))
    for line in "\n".join(UNNAMED.findall(text)).splitlines():
        if not line[:1].isalpha() or line.startswith(("TEST", "INSTANTIATE", "static_assert", "namespace ")):
            continue
        while (shorter := TEMPLATE_ARGUMENTS.sub("", line)) != line:
            line = shorter
        if match := TYPE.search(line) or VALUE.search(line):
            names.add(match[match.lastindex])
        names.update(re.findall(r"(\w+) = ", line))  # constexpr int kA = 1, kB = 2;
    return names


def batches(files):
    found = []  # [paths, own names, words]
    for path in files:
        text = Path(path).read_text()
        own, words = own_names(text), set(re.findall(r"\w+", COMMENT_OR_STRING.sub("", text)))
        for batch in found:
            if len(batch[0]) < FILES_AT_MOST and not own & batch[2] and not batch[1] & words:
                break
        else:
            batch = [[], set(), set()]
            found.append(batch)
        batch[0].append(path)
        batch[1] |= own
        batch[2] |= words
    return [paths for paths, _, _ in found]


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for i, paths in enumerate(batches(sys.argv[2:])):
        path = folder / f"{i}.cc"
        text = "".join(f'#include "{included}"\n' for included in paths)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        print(path)


if __name__ == "__main__":
    main()
