"""curl, bare sockets and signals: what a client does that is no library."""

import json
import resource
import signal
import socket
import subprocess
import threading
import time

from harness import Server, call, check, free_environment, wait_until

CHAT = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
LONG = {"messages": [{"role": "user", "content": "Tell a long story."}], "max_tokens": 400, "stream": True,
        "logit_bias": {"2": -100}}
IDLE_CONNECTIONS = 1000


def curl(*arguments):
    command = ["curl", "--silent", "--show-error", "--max-time", "60", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=free_environment())


def test_curl(server):
    chat = server.url + "/v1/chat/completions"
    send = ["-H", "Content-Type: application/json", "-d", json.dumps(CHAT)]
    plain = curl(chat, *send)
    check("curl: chat", json.loads(plain.stdout)["choices"][0]["message"]["content"] != "", plain.stdout)
    stream = curl("-N", chat, "-H", "Content-Type: application/json", "-d", json.dumps(CHAT | {"stream": True}))
    events = stream.stdout.strip().split("\n\n")
    check("curl: stream", all(e.startswith("data: ") for e in events) and events[-1] == "data: [DONE]", events[-1])
    head = curl("-i", server.url + "/")
    check("curl: the page", " 200" in head.stdout.split("\n")[0] and "text/html" in head.stdout
          and "Content-Security-Policy" in head.stdout and "nosniff" in head.stdout, head.stdout[:400])
    check("curl: HEAD", " 200" in curl("-I", server.url + "/").stdout.split("\n")[0])
    twice = curl("-w", "%{num_connects} ", "-o", "/dev/null", server.url + "/health", "-o", "/dev/null", server.url + "/health")
    check("curl: a connection is used again", twice.stdout.split() == ["1", "0"], twice.stdout)
    check("curl: HTTP/1.0", json.loads(curl("--http1.0", chat, *send).stdout)["choices"])
    expect = curl("-i", chat, "-H", "Expect: 100-continue", *send)
    check("curl: Expect: 100-continue", "100" in expect.stdout.split("\n")[0] and '"choices"' in expect.stdout)
    chunked = curl(chat, "-H", "Transfer-Encoding: chunked", *send)
    check("curl: a body in chunks", '"choices"' in chunked.stdout, chunked.stdout[:200])
    origin = curl("-i", server.url + "/v1/models", "-H", "Origin: https://evil.invalid")
    check("curl: CORS is off", "access-control" not in origin.stdout.lower())
    rebound = curl("-i", server.url + "/v1/models", "-H", "Host: evil.invalid")
    check("curl: an unknown Host is told nothing or the same", rebound.returncode == 0, rebound.stdout.split("\n")[0])
    for path in ["/v1/nothing", "/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/index.html", "/page/app.js", "//", "/v1/models/../.."]:
        found = curl("-i", "--path-as-is", server.url + path)
        check(f"curl: {path} is not served", " 404" in found.stdout.split("\n")[0] and '"error"' in found.stdout
              and "root:" not in found.stdout, found.stdout.split("\n")[0])
    wrong = curl("-i", chat)
    check("curl: GET of a chat", " 405" in wrong.stdout.split("\n")[0] and "allow:" in wrong.stdout.lower(), wrong.stdout[:120])
    for name, body in [("no JSON", b"{"), ("a list", b"[]"), ("not UTF-8", b'{"messages": "\xff"}'), ("nothing", b""),
                       ("deep", b"[" * 100000), ("deep object", b'{"a":' * 50000), ("NaN", b'{"temperature": NaN}')]:
        found = call(chat, body)
        check(f"bad body: {name}", found.status == 400 and found.json()["error"]["message"], found.text)
    found = curl("-i", chat, "-H", "Content-Type: application/json", "-H", "Expect:", "-H", "Content-Length: 999999999",
                 "--data-binary", "x")
    check("bad body: too large", " 413" in found.stdout.split("\n")[0], found.stdout[:100] + found.stderr)


def test_endpoints(server):
    for path in ["/health", "/ready", "/version", "/v1/models", "/openapi.json", "/metrics", "/tokenizer_info"]:
        found = server.call(path)
        check(f"GET {path}", found.status == 200 and len(found.text) > 1, found.text[:100])
    found = server.call("/tokenize", {"prompt": "Hello, world"}).json()
    check("/tokenize", found["count"] == len(found["tokens"]) > 2, found)
    text = server.call("/detokenize", {"tokens": found["tokens"]}).json()["prompt"]
    check("/detokenize", text == "Hello, world", text)
    before = server.metric("fptq_completion_tokens_total")
    server.call("/v1/chat/completions", CHAT)
    after = server.metric("fptq_completion_tokens_total")
    check("/metrics counts tokens", 0 < after - before <= 8, after - before)


def test_idle(server):
    """A thousand connections that say nothing, or half of something, delay nobody."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE_CONNECTIONS + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return check("idle connections", False, f"the limit of open files is {hard}, which is too low for this test")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    port = int(server.url.rsplit(":", 1)[1])
    idle = []
    body = CHAT | {"temperature": 0}
    server.call("/v1/chat/completions", body)

    def seconds():
        times = []
        for _ in range(5):
            begun = time.monotonic()
            server.call("/v1/chat/completions", body)
            times.append(time.monotonic() - begun)
        return sorted(times)[2]

    try:
        alone = seconds()
        for i in range(IDLE_CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            if i % 2:
                connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Le")
            idle.append(connection)
        among = seconds()
        check(f"{IDLE_CONNECTIONS} idle connections delay nobody", among < 2 * alone + 0.1, f"{alone:.3f} s, then {among:.3f} s")
    finally:
        for connection in idle:
            connection.close()
    check("and leave nothing behind", server.call("/health").status == 200)


def test_vanishing(server):
    """Clients that go away in the middle: sequences and memory are freed."""
    port = int(server.url.rsplit(":", 1)[1])
    body = json.dumps(LONG).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
    request += str(len(body)).encode() + b"\r\n\r\n" + body

    def round_of(count):
        for i in range(count):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(request[: -1 - i % 40] if i % 4 == 3 else request)
                if i % 4 == 1:
                    connection.recv(200)
                if i % 4 == 2:  # a reset rather than an end
                    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return wait_until(lambda: server.running() == 0, 10)

    check("vanishing clients: sequences are freed", round_of(60))
    before = server.memory()
    again = round_of(60)
    grown = server.memory() - before
    check("vanishing clients: memory stays", again and grown < 16 << 20, f"{grown / 2**20:+.1f} MiB")


def test_signals(fptq, model):
    server = Server(fptq, model)
    with server:
        lines = []

        def read():
            stream = subprocess.Popen(["curl", "-sN", server.url + "/v1/chat/completions", "-H", "Content-Type: application/json",
                                       "-d", json.dumps(LONG)], stdout=subprocess.PIPE, text=True, env=free_environment())
            lines.extend(stream.stdout)
            stream.wait()

        reader = threading.Thread(target=read)
        reader.start()
        wait_until(lambda: len(lines) > 4)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        try:
            refused = server.call("/v1/chat/completions", CHAT).status == 503
        except OSError:
            refused = True  # It takes no connections any more, which is as good.
        check("SIGTERM: new requests are refused", refused or server.process.poll() is not None)
        reader.join(60)
        check("SIGTERM: streams finish", "".join(lines).rstrip().endswith("data: [DONE]"), "".join(lines)[-200:])
        ended = wait_until(lambda: server.process.poll() is not None)
        check("SIGTERM: then it ends", ended and server.process.returncode == 0, server.process.returncode)
    with Server(fptq, model) as server:
        stream = subprocess.Popen(["curl", "-sN", server.url + "/v1/chat/completions", "-H", "Content-Type: application/json",
                                   "-d", json.dumps(LONG | {"max_tokens": 4000})], stdout=subprocess.DEVNULL, env=free_environment())
        wait_until(lambda: server.running() == 1)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        begun = time.monotonic()
        server.stop(signal.SIGINT)
        check("SIGINT twice ends it at once", time.monotonic() - begun < 2, f"{time.monotonic() - begun:.2f} s")
        stream.wait()


def test_limits(fptq, model):
    with Server(fptq, model, "--max-sequences", "2", "--queue", "2") as server:
        statuses, lock = [], threading.Lock()

        def ask():
            found = server.call("/v1/chat/completions", {**LONG, "stream": False, "max_tokens": 200})
            with lock:
                statuses.append((found.status, found.headers.get("Retry-After")))

        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [wait for status, wait in statuses if status == 429]
        check("a full queue: 429 with Retry-After", refused and all(w and int(w) > 0 for w in refused), statuses)
        check("a full queue: the others are answered", sum(s == 200 for s, _ in statuses) >= 2
              and len(refused) + sum(s == 200 for s, _ in statuses) == 16, [s for s, _ in statuses])


def run(fptq, model, server):
    test_curl(server)
    test_endpoints(server)
    test_idle(server)
    test_vanishing(server)
    test_limits(fptq, model)
    test_signals(fptq, model)
