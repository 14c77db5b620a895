"""What the tests of the server share: counting checks, and a running `fptq serve`."""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

passed = 0
failed = 0


def check(name, ok, detail=""):
    """Counts and prints one check; `detail` is what was found."""
    global passed, failed
    passed += bool(ok)
    failed += not ok
    detail = str(detail).replace("\n", "\\n")
    if ok and len(detail) > 120:
        detail = detail[:120] + "..."
    print(f"{'ok    ' if ok else 'FAILED'} {name}{': ' if detail else ''}{detail}", flush=True)
    return ok


def wait_until(condition, seconds=20, step=0.05):
    """What the condition gives, once that is true; None if it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(step)
    return None


def free_environment():
    """Without the proxies that the machine may be set up with: all traffic stays on it."""
    proxies = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
    return {k: v for k, v in os.environ.items() if k.lower() not in proxies}


class Answer:
    """What a request got: `status`, `headers`, `text`."""

    def __init__(self, status, headers, body):
        self.status, self.headers = status, headers
        self.text = body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.text)


def call(url, body=None, key=None, method=None, timeout=60):
    """One HTTP request; `body` is sent as JSON, bytes as they are."""
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if data is not None else {}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as response:
            return Answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


class Server:
    """`fptq serve` on a port of 127.0.0.1 that is free; for `with`."""

    def __init__(self, fptq, model, *options, key=None):
        self.key = key
        self.log = tempfile.NamedTemporaryFile("w+", prefix="fptq-serve-", suffix=".log")
        command = [fptq, "serve", model, "--host", "127.0.0.1", "--port", "0", *options]
        self.key_file = None
        if key:
            self.key_file = tempfile.NamedTemporaryFile("w", prefix="fptq-key-")
            self.key_file.write(key + "\n")
            self.key_file.flush()
            command += ["--api-key-file", self.key_file.name]
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=subprocess.STDOUT, env=free_environment(),
        )
        try:
            self.url = wait_until(self._find_url, 60)
            if not self.url or not wait_until(self._is_ready, 60):
                raise RuntimeError(f"fptq serve does not come up:\n{self.output()}")
        except BaseException:
            self.stop()
            raise

    def output(self):
        return Path(self.log.name).read_text(errors="replace")

    def _find_url(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"fptq serve ended with {self.process.returncode}:\n{self.output()}")
        found = re.search(r"http://[\w.\-]+:([1-9]\d*)", self.output())
        return found and f"http://127.0.0.1:{found[1]}"

    def _is_ready(self):
        try:
            return call(self.url + "/ready").status == 200
        except OSError:
            return False

    def call(self, path, body=None, **options):
        return call(self.url + path, body, key=options.pop("key", self.key), **options)

    def metric(self, name):
        """The sum of the samples of /metrics of that name."""
        text = self.call("/metrics").text
        values = re.findall(rf"^{name}(?:\{{[^}}]*\}})? ([-+.\deE]+)$", text, re.M)
        if not values:
            raise RuntimeError(f"/metrics has no {name}")
        return sum(map(float, values))

    def running(self):
        """Sequences that are computed or wait to be."""
        return self.metric("fptq_sequences_running") + self.metric("fptq_sequences_waiting")

    def memory(self):
        """Resident bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s*(\d+)", status)[1]) * 1024

    def descriptors(self):
        """How many files and connections it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self, signal_number=signal.SIGTERM, seconds=20):
        """Ends it; its exit status, None if it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                return None
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
