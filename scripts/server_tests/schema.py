"""schemathesis against /openapi.json: requests that the description allows and such that it forbids, a bounded number."""

import subprocess
import sys
from pathlib import Path

from harness import Server, check, free_environment

KEY = "sesame-1234"


def run(fptq, model, work, examples=40):
    with Server(fptq, model, "--context", "256", key=KEY) as server:
        operations = server.call("/openapi.json").json()["paths"]
        check("the description has all endpoints", {"/v1/chat/completions", "/v1/completions", "/v1/models", "/tokenize",
                                                    "/detokenize", "/health", "/ready", "/metrics", "/version"}
              <= operations.keys(), sorted(operations))
        # What no schema can say, e.g. which tokens the model has, is refused all the same: so valid requests may be.
        # One worker: with several, Python 3.11's parser fails now and then in what writes the requests.
        command = [Path(sys.executable).parent / "schemathesis", "run", server.url + "/openapi.json",
                   "--checks", "all", "--exclude-checks", "positive_data_acceptance", "--workers", 1,
                   "--phases", "examples,coverage,fuzzing", "--max-examples", examples, "--max-time", 60, "--seed", 1,
                   "--header", f"Authorization: Bearer {KEY}", "--request-timeout", 30,
                   "--suppress-health-check", "all", "--continue-on-failure"]
        result = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=work, env=free_environment(),
                                timeout=600)
        tail = "\n".join(result.stdout.splitlines()[-80:])
        check("schemathesis finds no fault", result.returncode == 0, tail if result.returncode else tail[-200:])
        check("the server is still well", server.call("/health").status == 200 and server.running() == 0)
        server.stop()
        check("and ends as it should", server.process.returncode == 0, server.process.returncode)
