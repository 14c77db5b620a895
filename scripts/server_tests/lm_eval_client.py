"""lm_eval through the server: a slice of HellaSwag must be answered as `fptq eval` answers it, choice by choice."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

from harness import check, free_environment

# acc_norm divides by the characters of the choice, its leading space included, as `fptq eval` does.
CHOICE_TASK = """
task: hellaswag_slice
dataset_path: json
dataset_kwargs: {data_files: {validation: hellaswag.jsonl}}
output_type: multiple_choice
validation_split: validation
doc_to_text: "{{context}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{label}}"
target_delimiter: ""
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
TEXT_TASK = """
task: continue_slice
dataset_path: json
dataset_kwargs: {data_files: {validation: hellaswag.jsonl}}
output_type: generate_until
validation_split: validation
doc_to_text: "Continue this: {{context}}"
doc_to_target: ""
generation_kwargs: {until: ["\\n\\n"], max_gen_toks: 24, temperature: 0.0, do_sample: false}
metric_list: [{metric: exact_match}]
"""


def fptq_answers(fptq, model, data, documents, work):
    """(doc_id, idx) -> (log_likelihood, greedy), and the scores."""
    details = work / "details.jsonl"
    command = [fptq, "eval", model, "--tasks", "hellaswag", "--data", data, "--limit", str(documents),
               "--details", details, "--json"]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    rows = map(json.loads, details.read_text().splitlines())
    answers = {(r["doc_id"], r["idx"]): (r["log_likelihood"], r["greedy"]) for r in rows}
    return answers, json.loads(result.stdout)["tasks"]["hellaswag"]


def write_slice(data, ids, work):
    documents = {}
    with gzip.open(data / "hellaswag.0shot.jsonl.gz", "rt") as lines:
        for row in map(json.loads, lines):
            if row["doc_id"] in ids:
                new = {"doc_id": row["doc_id"], "label": row["label"], "choices": []}
                document = documents.setdefault(row["doc_id"], new)
                document["context"] = row["request"]["context"]
                document["choices"].append(row["request"]["continuation"])
    text = "".join(json.dumps(documents[i], ensure_ascii=False) + "\n" for i in sorted(documents))
    (work / "hellaswag.jsonl").write_text(text)
    (work / "choice.yaml").write_text(CHOICE_TASK)
    (work / "text.yaml").write_text(TEXT_TASK)
    return len(documents)


def lm_eval(name, kind, task, arguments, work, *options):
    """(samples, results) of a run of the command."""
    arguments = [f"{key}={value}" for key, value in arguments.items()]
    command = [Path(sys.executable).parent / "lm_eval", "run", "--model", kind, "--model_args", *arguments,
               "--tasks", task, "--include_path", work, "--output_path", work / name, "--log_samples", *options]
    # Nothing is fetched: the data are local.
    environment = free_environment() | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(work / "hf"),
                                        "OPENAI_API_KEY": "none", "TOKENIZERS_PARALLELISM": "false"}
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=work, env=environment,
                            timeout=900)
    if not check(f"lm_eval {name}: runs", result.returncode == 0, result.stderr[-1500:] if result.returncode else ""):
        return [], {}
    (samples,) = (work / name).rglob("samples_*.jsonl")
    (results,) = (work / name).rglob("results_*.json")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    return rows, json.loads(results.read_text())["results"][task]


def test_choices(server, model_name, expected, scores, work, name, options, limit=None):
    """The answers of lm_eval to all documents, or to the first `limit`, for which there are no scores to compare."""
    arguments = {"model": model_name, "base_url": server.url + "/v1/completions", "tokenizer_backend": "remote",
                 "max_retries": 1} | options
    batch = options.pop("batch_size", 1)
    arguments.pop("batch_size", None)
    samples, results = lm_eval(name, "local-completions", "hellaswag_slice", arguments, work, "--batch_size", batch,
                               *(["--limit", limit] if limit else []))
    if not samples:
        return
    different, largest, count = [], 0.0, 0
    for sample in samples:
        for idx, response in enumerate(sample["filtered_resps"]):
            key = sample["doc"]["doc_id"], idx
            likelihood, greedy = float(response[0]), str(response[1]) == "True"
            count += 1
            largest = max(largest, abs(likelihood - expected[key][0]))
            if abs(likelihood - expected[key][0]) > 1e-9 * abs(expected[key][0]) or greedy != expected[key][1]:
                different.append((key, likelihood, greedy, expected[key]))
    # lm_eval adds up what JSON holds in full, in the same order: no more than a sum's rounding may differ.
    wanted = 4 * limit if limit else len(expected)
    check(f"lm_eval {name}: {count} answers are those of fptq eval", count == wanted and not different,
          f"largest difference {largest:.1e}; {different[:3] if different else ''}")
    if limit:
        return
    found = results["acc,none"], results["acc_norm,none"]
    wanted = scores["accuracy"], scores["normalized_accuracy"]
    check(f"lm_eval {name}: the same scores", all(abs(a - b) < 1e-9 for a, b in zip(found, wanted)), f"{found}, {wanted}")


def test_text(server, model_name, work):
    """Generated text is what the same request gives without lm_eval."""
    chat = {"model": model_name, "base_url": server.url + "/v1/chat/completions", "num_concurrent": 4, "max_retries": 1}
    samples, _ = lm_eval("chat", "local-chat-completions", "continue_slice", chat, work, "--apply_chat_template",
                         "--limit", 8)
    wrong = []
    for sample in samples:
        message = {"role": "user", "content": "Continue this: " + sample["doc"]["context"]}
        body = {"model": model_name, "messages": [message], "max_tokens": 24, "temperature": 0, "stop": ["\n\n"]}
        text = server.call("/v1/chat/completions", body).json()["choices"][0]["message"]["content"]
        if sample["filtered_resps"] != [text]:
            wrong.append((sample["filtered_resps"], text))
    check("lm_eval chat: the texts are those of the same requests", len(samples) == 8 and not wrong, wrong[:2])


def run(fptq, model, server, data, work, documents=60):
    expected, scores = fptq_answers(fptq, model, data, documents, work)
    count = write_slice(data, {doc for doc, _ in expected}, work)
    check("lm_eval: a slice of HellaSwag", count == documents and len(expected) == 4 * documents, count)
    name = server.call("/v1/models").json()["data"][0]["id"]
    test_choices(server, name, expected, scores, work, "tokens, 8 at once", {"num_concurrent": 8})
    test_choices(server, name, expected, scores, work, "tokens, 16 a request", {"batch_size": 16}, limit=16)
    test_text(server, name, work)
