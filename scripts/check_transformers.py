#!/usr/bin/env python3
"""Compares fptq with transformers + compressed-tensors on a real model.

  scripts/check_transformers.py FPTQ SOURCE.gguf QUANTIZED_DIR TEXT [--tokens 1024]

Float: over the first 512 tokens of TEXT the logits of SOURCE, which transformers dequantizes itself,
must agree within 1e-3 of the largest logit.

W4A8: both run the same W4A8 linears, transformers in float32, fptq with a scale a token as there; but
for continuations, where it has one a token and group of the weights. They differ in what the folder does
not define: fptq keeps the KV cache and lm_head in int8, and rounds queries and attention weights.
So transformers is also measured with int8 KV and lm_head ("emulated"). What remains is the order of
float sums; it tips roundings of activations that lie between two int8 values, and the following
layers amplify that. How much is shown by a control: transformers in float64 against itself in
float32. Reported are perplexity over --tokens tokens in windows of 1024, the difference of the
logits over 512 tokens (root mean square, as a share of that of the logits, each row centred), and
how many greedy continuations of 32 tokens agree over 20 prompts. The prompts repeat a passage three
times and begin it again, so that a model is sure of most tokens: on free text near ties part two
implementations of the same W4A8 model soon (the control too).

Fails if the perplexities differ by more than 3 % or fewer than half of the continuations are equal.
Needs torch, transformers, accelerate, gguf and compressed-tensors.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import DynamicCache

CONTEXT, PROMPTS, NEW_TOKENS, LOGITS_TOKENS = 1024, 20, 32, 512


def fake_int8(x, scale):
    return torch.round(x / scale).clamp(-128, 127) * scale


def by_row(x, steps):
    return fake_int8(x, (x.abs().amax(-1, keepdim=True) / steps).clamp_min(1e-30))


class Int8Cache(DynamicCache):
    def update(self, keys, values, *args, **kwargs):
        return super().update(by_row(keys, 127), by_row(values, 127), *args, **kwargs)


def rotate(x):
    """x times normalized Walsh-Hadamard blocks of the largest power of two that divides its width."""
    width = x.shape[-1]
    block = width & -width
    hadamard = torch.ones(1, 1, dtype=x.dtype)
    while len(hadamard) < block:
        hadamard = torch.kron(torch.tensor([[1, 1], [1, -1]], dtype=x.dtype), hadamard)
    return (x.unflatten(-1, (width // block, block)) @ (hadamard / block**0.5)).flatten(-2)


def emulate_int8_head(model):
    head = model.lm_head
    head.weight = torch.nn.Parameter(by_row(rotate(head.weight.detach()), 127), requires_grad=False)
    head.register_forward_pre_hook(lambda _, args: (by_row(rotate(args[0]), 127.5),))


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def perplexity(model, ids, new_cache):
    nll, count = 0.0, 0
    for begin in range(0, len(ids), CONTEXT):
        window = torch.tensor([ids[begin : begin + CONTEXT]])
        logits = model(window, past_key_values=new_cache(), use_cache=True).logits[0, :-1].double()
        losses = torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="none")
        nll, count = nll + losses.sum().item(), count + len(losses)
    return math.exp(nll / count)


@torch.no_grad()
def continuations(model, prompts, new_cache):
    """Greedy, all prompts in one batch, padded on the left."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    out = model.generate(
        ids, attention_mask=mask, do_sample=False, max_new_tokens=NEW_TOKENS,
        past_key_values=new_cache(), pad_token_id=0,
    )
    return out[:, width:].tolist()


def fptq(binary, *args):
    return subprocess.run([binary, *map(str, args)], check=True, stdout=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL).stdout


def fptq_logits(binary, model, text, *options):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "logits"
        tokens = ["--tokens", LOGITS_TOKENS]
        fptq(binary, "perplexity", model, "--text", text, *tokens, "--logits", path, *options)
        return np.fromfile(path, np.float32).reshape(LOGITS_TOKENS - 1, -1)


@torch.no_grad()
def logits_of(model, ids, new_cache=DynamicCache):
    window = torch.tensor([ids[:LOGITS_TOKENS]])
    return model(window, past_key_values=new_cache(), use_cache=True).logits[0, :-1].float().numpy()


def rms_difference(found, expected):
    """Softmax ignores a shift of a row, so rows are centred."""
    centred = expected - expected.mean(-1, keepdims=True)
    difference = found - found.mean(-1, keepdims=True) - centred
    return math.sqrt((difference.astype(float) ** 2).mean() / (centred.astype(float) ** 2).mean())


def check_float(args):
    source = pathlib.Path(args.source)
    model = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.float32
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    ids = tokenizer(open(args.text).read(20 * LOGITS_TOKENS))["input_ids"]
    expected = logits_of(model, ids)
    error = np.abs(fptq_logits(args.fptq, source, args.text) - expected).max() / np.abs(expected).max()
    print(f"float: largest difference of a logit {error:.1e} of the largest logit", flush=True)
    return error < 1e-3


def common_prefix(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def prompts_of(text):
    prompts = []
    for passage in text.split("\n\n")[:PROMPTS]:
        words = passage.split()[:40]
        prompts.append((" ".join(words) + "\n") * 3 + " ".join(words[:6]))
    return prompts


def report(name, reference, other_name, other, tokenizer):
    """`reference`, `other`: perplexity, continuations and logits. Whether they agree."""
    shared = []
    for expected, found in zip(reference[1], other[1]):
        same = common_prefix(tokenizer(expected)["input_ids"], tokenizer(found)["input_ids"])
        shared.append(NEW_TOKENS if found == expected else same)
    equal, half = sum(s == NEW_TOKENS for s in shared), sum(s >= NEW_TOKENS // 2 for s in shared)
    change = other[0] / reference[0] - 1
    print(
        f"{name}: perplexity {reference[0]:.4f}, {other_name} {other[0]:.4f} ({change:+.2%}); "
        f"logits differ by {rms_difference(other[2], reference[2]):.3f}; "
        f"of {PROMPTS} continuations {equal} equal, {half} agree for {NEW_TOKENS // 2} tokens",
        flush=True,
    )
    return abs(change) <= 0.03 and equal >= PROMPTS // 2


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fptq")
    parser.add_argument("source")
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--tokens", type=int, default=1024)
    args = parser.parse_args()

    agreed = check_float(args)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = load(args.model)
    text = open(args.text).read()
    ids = tokenizer(text[: 20 * args.tokens])["input_ids"][: args.tokens]
    prompts = prompts_of(text)
    prompt_ids = [tokenizer(p)["input_ids"] for p in prompts]

    command = ["perplexity", args.model, "--text", args.text, "--tokens", args.tokens, "--json", "--token-scales"]
    run = ["run", args.model, "--temperature", 0, "-n", NEW_TOKENS, "-p"]
    ours = (
        json.loads(fptq(args.fptq, *command))["perplexity"],
        [fptq(args.fptq, *run, p).removesuffix("\n") for p in prompts],
        fptq_logits(args.fptq, args.model, args.text, "--token-scales"),
    )

    def theirs(new_cache):
        texts = [
            tokenizer.decode(tokens, skip_special_tokens=True).removesuffix("\n")
            for tokens in continuations(model, prompt_ids, new_cache)
        ]
        return perplexity(model, ids, new_cache), texts, logits_of(model, ids, new_cache)

    plain = theirs(DynamicCache)
    agreed &= report("transformers", plain, "fptq", ours, tokenizer)
    model.double()
    report("transformers, control", plain, "in float64", theirs(DynamicCache), tokenizer)
    model = load(args.model)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())  # untie
    emulate_int8_head(model)
    agreed &= report("transformers, emulated", theirs(Int8Cache), "fptq", ours, tokenizer)
    sys.exit(0 if agreed else "check_transformers: no agreement")


if __name__ == "__main__":
    main()
