#!/usr/bin/env python3
"""Runs the tests of the server with real clients; started by scripts/test_server."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import curl
import exact
import harness
import lm_eval_client
import page
import python_client
import schema
import soak

ROOT = Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fptq", type=lambda path: Path(path).resolve(), required=True)
    parser.add_argument("--model", type=Path, required=True, help="SmolLM2 as fptq quantized it")
    parser.add_argument("--tiny", type=Path, default=ROOT / "testdata/models/tiny-llama-w4a8")
    parser.add_argument("--data", type=Path, default=ROOT / "data/tasks")
    parser.add_argument("tests", nargs="*", help="some of: python, lm_eval, exact, curl, schema, page; or soak (default: all but that)")
    parser.add_argument("--requests", type=int, default=24, help="of exact, in each setting")
    parser.add_argument("--minutes", type=float, default=60, help="of soak")
    parser.add_argument("--pause", type=float, default=0, help="seconds that a client of soak waits between two requests, on average")
    parser.add_argument("--threads", type=int, help="of the server of soak")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, harness.Server(args.fptq, args.model) as server:
        work = Path(folder)
        tests = {
            "python": lambda: python_client.run(args.fptq, args.model, server),
            "lm_eval": lambda: lm_eval_client.run(args.fptq, args.model, server, args.data, work),
            "exact": lambda: exact.run(args.fptq, args.model, args.requests),
            "curl": lambda: curl.run(args.fptq, args.model, server),
            "schema": lambda: schema.run(args.fptq, args.tiny, work),
            "page": lambda: page.run(args.fptq, args.model, server),
        }
        usual = list(tests)
        tests["soak"] = lambda: soak.run(args.fptq, args.model, args.minutes, args.pause, args.threads)
        unknown = set(args.tests) - tests.keys()
        if unknown:
            sys.exit(f"test_server: error: expected some of {', '.join(tests)}, found '{unknown.pop()}'")
        for name in args.tests or usual:
            begun = time.monotonic()
            try:
                tests[name]()
            except Exception as error:  # The others still run.
                harness.check(f"{name} ends by itself", False, f"{type(error).__name__}: {error}")
            print(f"-- {name}: {time.monotonic() - begun:.0f} s", flush=True)
        harness.check("the server is alive at the end", server.process.poll() is None, server.output()[-500:])
    print(f"{harness.passed} passed, {harness.failed} failed")
    sys.exit(1 if harness.failed or not harness.passed else 0)


if __name__ == "__main__":
    main()
