"""schemathesis against /openapi.json: requests that the description allows and such that it forbids, a bounded number."""

import subprocess
import sys
from pathlib import Path

from harness import Server, check, free_environment


def run(fptq, model, work, examples=40):
    with Server(fptq, model, "--context", "256") as server:
        operations = server.call("/openapi.json").json()["paths"]
        check("the description has all endpoints", {"/v1/chat/completions", "/v1/completions", "/v1/models", "/tokenize",
                                                    "/detokenize", "/health", "/ready", "/metrics", "/version"}
              <= operations.keys(), sorted(operations))
        command = [Path(sys.executable).parent / "schemathesis", "run", server.url + "/openapi.json", "--checks", "all",
                   "--phases", "examples,coverage,fuzzing", "--max-examples", examples, "--seed", 1, "--workers", 2,
                   "--request-timeout", 30, "--max-time", 120, "--suppress-health-check", "all", "--continue-on-failure"]
        result = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=work, env=free_environment(),
                                timeout=600)
        tail = "\n".join(result.stdout.splitlines()[-80:])
        check("schemathesis finds no fault", result.returncode == 0, tail if result.returncode else tail[-200:])
        check("the server is still well", server.call("/health").status == 200 and server.running() == 0)
        server.stop()
        check("and ends as it should", server.process.returncode == 0, server.process.returncode)
