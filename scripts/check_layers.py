#!/usr/bin/env python3
"""Checks the rules of docs/design.md that bind src/: who includes whom, and whose results are used.

  - A folder includes itself and folders of lower layers; folders of one layer never each other.
  - Within quant/ the rooms are ordered, too; what lies outside of them is below all, but for tests.
  - A quoted include names a file of src/ by its path from there.
  - The public headers, include/fptq, include each other and the standard library alone; src/ includes them in api/ and
    above, and fptq/error.h in base/, whose errors they are.
  - Intrinsics headers appear in src/kernels alone.
  - An ISA file (it defines a KernelTable) and the .inc files it is made of include nothing but
    <cstdint>, <cstddef>, intrinsics headers, kernels/kernels.h and .inc files of src/kernels.
  - Outside of tests, benchmarks and templates, whose numbers are Python's, nothing calls what differs between C libraries in the last bit or
    more: std::exp, std::sin, ... (base/math.h has them), and the distributions of <random>.

  scripts/check_layers.py [--self-test]
"""

import re
import sys
import tempfile
from pathlib import Path

LAYERS = [
    ["base"],
    ["files"],
    ["kernels", "io", "text"],
    ["machine"],
    ["model"],
    ["engine"],
    ["quant"],
    ["eval", "server", "report"],
    ["api"],
    ["cli"],
]
ROOMS = [["calibrate", "round"], ["decide"], ["run"]]  # of quant/; those of one line may include each other
LAYER = {folder: i for i, folders in enumerate(LAYERS) for folder in folders}
ROOM = {f"quant/{room}": i for i, rooms in enumerate(ROOMS) for room in rooms}
TESTS = re.compile(r"(_test|_bench|/testing|_test_util)\.\w+$")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)
INTRINSICS = re.compile(r"(\w*intrin|x86gprintrin|arm_\w+)\.h")
DEFINES_TABLE = re.compile(r"^(?:extern )?const KernelTable \w+ *(?:=|\{)", re.MULTILINE)
ISA_HEADERS = {"cstdint", "cstddef"}
INEXACT = re.compile(
    r"\bstd::(?:a?(?:sin|cos|tan)h?|atan2|exp2?|expm1|log(?:2|10|1p|b)?|pow|cbrt|hypot|erfc?"
    r"|[lt]gamma|\w+_distribution)[fl]?\b"
    r"|(?<![\w.:>])(?:sin|cos|tan|tanh|exp2?|log(?:2|10)?|pow|erf)f?\("
)


def check_isa_include(quoted, system):
    if system:
        return system in ISA_HEADERS or INTRINSICS.fullmatch(system)
    return quoted == "kernels/kernels.h" or re.fullmatch(r"kernels/\w+\.inc", quoted)


def check_public_include(include, folder, quoted):
    """A message if src/FOLDER may not include the public header, or there is none."""
    if not (include / quoted).is_file():
        return "is not a file of include/"
    if LAYER[folder] < LAYER["api"] and (folder, quoted) != ("base", "fptq/error.h"):
        return f"is for api and above, not for {folder}"
    return None


def check_public_header(include, path):
    text = path.read_text()
    for match in INCLUDE.finditer(text):
        quoted, system = match.groups()
        if (quoted and not (include / quoted).is_file()) or (system and not re.fullmatch(r"\w+", system)):
            yield f"{path.relative_to(include)}: a public header may not include {quoted or system}"


def check_file(src, path):
    """Yields a message for each place that breaks a rule."""
    name = path.relative_to(src)
    folder = name.parts[0]
    if folder not in LAYER:
        yield f"{name}: folder '{folder}' has no layer in {Path(__file__).name}"
        return
    text = path.read_text()
    is_isa = folder == "kernels" and (path.suffix == ".inc" or DEFINES_TABLE.search(text))
    for match in INCLUDE.finditer(text):
        quoted, system = match.groups()
        where = f"{name}:{text.count(chr(10), 0, match.start(quoted and 1 or 2)) + 1}"
        if system and INTRINSICS.fullmatch(system) and folder != "kernels":
            yield f"{where}: <{system}> belongs into src/kernels alone"
        if is_isa and not check_isa_include(quoted, system):
            yield f"{where}: an ISA file may not include {quoted or system}"
        if not quoted:
            continue
        target = quoted.split("/")[0]
        if target == "fptq":
            if message := check_public_include(src.parent / "include", folder, quoted):
                yield f'{where}: "{quoted}" {message}'
        elif not (src / quoted).is_file():
            yield f'{where}: "{quoted}" is not a file of src/'
        elif target != folder and LAYER.get(target, len(LAYERS)) >= LAYER[folder]:
            yield f"{where}: {folder} may not include {target}"
        elif target == folder and not TESTS.search(str(name)) and ROOM.get(room_of(quoted), 0) > ROOM.get(room_of(name), 0):
            yield f"{where}: {room_of(name)} may not include {room_of(quoted)}"
    if not TESTS.search(str(name)) and not str(name).startswith("text/jinja/"):
        yield from check_math(name, text)


def room_of(name):
    return str(Path(name).parent)


def check_math(name, text):
    for number, line in enumerate(text.split("\n"), 1):
        code = line.split("//")[0]
        for match in INEXACT.finditer(code):
            yield f"{name}:{number}: {match.group()}: use base/math.h, whose bits are the same everywhere"


def check_tree(src):
    include = src.parent / "include"
    files = sorted(p for p in src.rglob("*") if p.suffix in {".h", ".cc", ".inc"})
    headers = sorted(include.rglob("*.h"))
    messages = [f"src/{message}" for path in files for message in check_file(src, path)]
    messages += [f"include/{m}" for path in headers for m in check_public_header(include, path)]
    return len(files) + len(headers), messages


def self_test():
    """Each rule must reject its violation, and the rest must pass."""
    good = {
        "../include/fptq/error.h": '#include <string>\n#include "fptq/export.h"\n',
        "../include/fptq/export.h": "",
        "base/fail.h": '#include "fptq/error.h"\n',
        "api/call.h": '#include "fptq/export.h"\n#include "eval/task.cc"\n',
        "base/error.h": "#include <string>\n",
        "io/gguf.cc": '#include "base/error.h"\n',
        "kernels/kernels.h": "#include <cstdint>\n",
        "kernels/row_ops.inc": "",
        "kernels/avx2.cc": "#include <immintrin.h>\n"
        '#include "kernels/kernels.h"\n#include "kernels/row_ops.inc"\n'
        "const KernelTable kAvx2Kernels = {};\n",
        "kernels/dispatch.cc": '#include <string>\n#include "base/error.h"\n',
        "eval/task.cc": '#include "io/gguf.cc"\n',
        "eval/math.cc": "double y = Exp(x) + std::sqrt(x) + a.exp(x) + model::log(x);  // exp(x)\n",
        "quant/run/quantize.h": "",
        "quant/decide/policy.h": "",
        "quant/round/gptq.h": "",
        "cli/plan.cc": '#include "quant/run/quantize.h"\n',
        "quant/run/plan.cc": '#include "quant/decide/policy.h"\n',
        "quant/calibrate/set.cc": '#include "quant/round/gptq.h"\n',
        "quant/recipe_test.cc": '#include "quant/run/quantize.h"\n',
        "eval/math_test.cc": "double y = std::exp(x);\n",
    }
    table = "const KernelTable kScalarKernels = {};\n"
    bad = {
        "../include/fptq/llm.h": "#include <fmt/format.h>\n",
        "../include/fptq/inner.h": '#include "base/error.h"\n',
        "base/public.h": '#include "fptq/export.h"\n',
        "api/absent.h": '#include "fptq/absent.h"\n',
        "base/up.cc": '#include "io/gguf.cc"\n',
        "io/sibling.cc": '#include "kernels/kernels.h"\n',
        "io/absent.cc": '#include "io/absent.h"\n',
        "io/relative.cc": '#include "gguf.cc"\n',
        "io/intrinsics.cc": "#include <immintrin.h>\n",
        "kernels/scalar.cc": "#include <vector>\n" + table,
        "kernels/neon.cc": '#include "base/error.h"\n' + table,
        "kernels/tile.inc": "#include <algorithm>\n",
        "novel/file.cc": "",
        "io/math.cc": "double y = std::exp(x);\n",
        "text/math.cc": "float y = sinf(x);\n",
        "quant/recipe.cc": '#include "quant/decide/policy.h"\n',
        "quant/round/policy.cc": '#include "quant/decide/policy.h"\n',
        "model/random.cc": "std::normal_distribution<float> d;\n",
    }
    with tempfile.TemporaryDirectory() as folder:
        src = Path(folder).resolve() / "src"

        def write(files):
            for name, text in files.items():
                (src / name).parent.mkdir(parents=True, exist_ok=True)
                (src / name).write_text(text)

        write(good)
        assert check_tree(src)[1] == [], check_tree(src)[1]
        write(bad)
        messages = check_tree(src)[1]
    for name in bad:
        where = f"src/{name}".removeprefix("src/../")
        assert sum(m.startswith(where) for m in messages) == 1, (name, messages)
    assert len(messages) == len(bad), messages
    print("check_layers: self-test passed")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    count, messages = check_tree(Path(__file__).resolve().parent.parent / "src")
    for message in messages:
        print(message)
    if messages or count == 0:
        sys.exit(f"check_layers: {len(messages)} breaches in {count} files")
    print(f"check_layers: {count} files follow the rules")


if __name__ == "__main__":
    main()
