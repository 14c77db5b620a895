"""A reverse proxy before the server, whose chat answers a test can write: what a model cannot be
made to say, and errors that the server has no reason for."""

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Script:
    """An answer to a chat request. Its pieces are sent one by one; then, unless it is `cut`, its end.
    While `hold` is set it waits before the end. `gone` is set once the client has gone before that."""

    def __init__(self, pieces=(), status=200, message="", retry_after=None, error_event="", cut=False,
                 hold=False):
        self.pieces, self.status, self.message = list(pieces), status, message
        self.retry_after, self.error_event, self.cut = retry_after, error_event, cut
        self.held, self.gone = threading.Event(), threading.Event()
        if not hold:
            self.held.set()


class Stub:
    """`scripts` answer the next chat requests, one each; requests beyond go to the server, as all
    others do. `bodies` are those of all chat requests."""

    def __init__(self, upstream):
        self.upstream = urlsplit(upstream)
        self.scripts, self.bodies, self.stopped = [], [], False
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                stub.forward(self, None)

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path == "/v1/chat/completions":
                    stub.bodies.append(json.loads(body))
                    if stub.scripts:
                        return stub.play(self, stub.scripts.pop(0))
                return stub.forward(self, body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        """Also for connections that a browser has opened ahead."""
        self.stopped = True
        self.server.shutdown()
        self.server.server_close()

    def forward(self, handler, body):
        if self.stopped:
            handler.close_connection = True
            return
        upstream = http.client.HTTPConnection(self.upstream.hostname, self.upstream.port, timeout=60)
        skipped = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}
        headers = {k: v for k, v in handler.headers.items() if k.lower() not in skipped}
        if "Origin" in headers:  # The server's own page asks.
            headers["Origin"] = self.upstream.geturl()
        try:
            upstream.request(handler.command, handler.path, body, headers)
            response = upstream.getresponse()
            handler.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in skipped | {"server", "date"}:
                    handler.send_header(name, value)
            handler.send_header("Connection", "close")
            handler.close_connection = True
            handler.end_headers()
            while part := response.read1(65536):
                handler.wfile.write(part)
                handler.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            upstream.close()

    def play(self, handler, script):
        def event(value):
            text = value if isinstance(value, str) else json.dumps(value)
            handler.wfile.write(f"data: {text}\n\n".encode())
            handler.wfile.flush()

        def choice(delta, finish=None):
            return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

        handler.close_connection = True
        try:
            handler.send_response(script.status)
            if script.retry_after is not None:
                handler.send_header("Retry-After", str(script.retry_after))
            handler.send_header("Connection", "close")
            if script.status != 200:
                handler.send_header("Content-Type", "application/json")
                handler.end_headers()
                error = {"message": script.message, "type": "error", "param": None, "code": None}
                handler.wfile.write(json.dumps({"error": error}).encode())
                return
            handler.send_header("Content-Type", "text/event-stream")
            handler.end_headers()
            event(choice({"role": "assistant", "content": ""}))
            for piece in script.pieces:
                event(choice({"content": piece}))
            while not script.held.wait(0.1):
                handler.wfile.write(b": still there\n\n")
                handler.wfile.flush()
            if script.error_event:
                event({"error": {"message": script.error_event, "type": "server_error", "code": 500}})
            elif not script.cut:
                event(choice({}, "stop"))
                details = {"cached_tokens": 512}
                usage = {"prompt_tokens": 530, "completion_tokens": len(script.pieces)}
                event({"choices": [], "usage": usage | {"prompt_tokens_details": details}})
                event("[DONE]")
        except (BrokenPipeError, ConnectionResetError):
            script.gone.set()
