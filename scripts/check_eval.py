#!/usr/bin/env python3
"""Compares `fptq eval` on a float model with transformers, request by request.

  scripts/check_eval.py FPTQ SOURCE.gguf TOKENIZER_DIR [--requests 40] [--shots 0] [--tasks a,b]

Of each task it takes documents with about --requests requests, spread over the file, tokenizes
context and continuation together, lets transformers in float32 compute the log-likelihood of the
continuation, and compares it with fptq's (--details). Then it decides each document from the
log-likelihoods of both: the largest one, the largest one per character, and for LAMBADA whether all
tokens are greedy. TOKENIZER_DIR has a tokenizer.json of the model, as `fptq quantize` writes it.

Fails if a log-likelihood differs by more than 1e-3 + 1e-5 of its size, or a decision differs. Needs
torch, transformers and gguf.
"""

import argparse
import gzip
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TASKS = "lambada,piqa,hellaswag,winogrande,arc_easy,arc_challenge,mmlu"


def documents(path):
    with gzip.open(path, "rt") as lines:
        rows = (json.loads(line) for line in lines)
        rows = [row for row in rows if row["doc_id"] < 1000000]
    return [list(doc) for _, doc in itertools.groupby(rows, key=lambda row: row["doc_id"])]


def spread(docs, limit):
    limit = min(limit, len(docs))
    return [docs[i * len(docs) // limit] for i in range(limit)]


@torch.no_grad()
def answer(model, tokenizer, request):
    """The log-likelihood of the continuation, its number of tokens, and whether it is greedy."""
    context = tokenizer(request["context"].rstrip())["input_ids"]
    whole = tokenizer(request["context"] + request["continuation"])["input_ids"]
    logits = model(torch.tensor([whole[:-1]])).logits[0, len(context) - 1 :].double()
    targets = torch.tensor(whole[len(context) :])
    chosen = torch.log_softmax(logits, -1).gather(1, targets[:, None])
    return chosen.sum().item(), len(targets), bool((logits.argmax(-1) == targets).all())


def decisions(doc, answers):
    """What a document's score rests on."""
    if len(answers) == 1:
        return answers[0][2]
    scores = [likelihood for likelihood, _, _ in answers]
    per_character = [
        score / len(row["request"]["continuation"]) for row, score in zip(doc, scores)
    ]
    return scores.index(max(scores)), per_character.index(max(per_character))


def fptq_answers(args, task, limit):
    with tempfile.TemporaryDirectory() as folder:
        details = pathlib.Path(folder) / "details"
        command = [args.fptq, "eval", args.source, "--tasks", task, "--data", args.data]
        command += ["--shots", args.shots, "--limit", limit, "--details", details]
        subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        rows = map(json.loads, details.read_text().splitlines())
        return {(r["doc_id"], r["idx"]): (r["log_likelihood"], r["tokens"], r["greedy"]) for r in rows}


def check(task, docs, ours, model, tokenizer):
    largest, agree, count, within = 0.0, 0, 0, True
    for doc in docs:
        theirs = [answer(model, tokenizer, row["request"]) for row in doc]
        mine = [ours[row["doc_id"], row["idx"]] for row in doc]
        for (expected, tokens, _), (found, our_tokens, _) in zip(theirs, mine):
            largest = max(largest, abs(found - expected))
            within &= abs(found - expected) <= 1e-3 + 1e-5 * abs(expected) and tokens == our_tokens
            count += 1
        agree += decisions(doc, theirs) == decisions(doc, mine)
    print(
        f"{task:14} {count:4} requests: log-likelihoods differ by {largest:.1e} at most; "
        f"{agree} of {len(docs)} documents are decided alike",
        flush=True,
    )
    return within and agree == len(docs)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fptq")
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("tokenizer")
    parser.add_argument("--data", type=pathlib.Path, default="data/tasks")
    parser.add_argument("--tasks", default=TASKS)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--shots", type=int, default=0)
    args = parser.parse_args()

    model = AutoModelForCausalLM.from_pretrained(
        args.source.parent, gguf_file=args.source.name, dtype=torch.float32
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    agreed = True
    for task in args.tasks.split(","):
        docs = documents(args.data / f"{task}.{args.shots}shot.jsonl.gz")
        docs = spread(docs, max(1, args.requests // len(docs[0])))
        ours = fptq_answers(args, task, len(docs))
        agreed &= check(task, docs, ours, model, tokenizer)
    sys.exit(0 if agreed else "check_eval: no agreement")


if __name__ == "__main__":
    main()
