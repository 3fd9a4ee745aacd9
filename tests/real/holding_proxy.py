"""A proxy before nova that holds back answers of creates: a crash finds them unanswered."""

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
HOLD_AT_MOST_S = 300


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that was killed hears no answer, which is what this is for."""


class HoldingProxy:
    """Forwards everything to *target*; from `hold` to `let_go`, answers of creates wait.

    Attributes:
        url: what to use in the place of *target*.
        deleted: ids of servers whose deletion nova has accepted.
    """

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._lock = threading.Lock()
        self._unanswered: set[str] = set()
        self.deleted: set[str] = set()
        self._open = threading.Event()
        self._open.set()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{self._target.path}"

    def hold(self) -> None:
        """From now on nova makes servers and nobody is told."""
        self._open.clear()

    def let_go(self) -> None:
        """Let all answers pass again, those that wait as well."""
        self._open.set()

    @property
    def unanswered(self) -> set[str]:
        """Ids of servers that nova has made and whose maker has not been told."""
        with self._lock:
            return set(self._unanswered)

    def __enter__(self) -> "HoldingProxy":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        self._server.shutdown()
        self._server.server_close()

    def _keep(self, server_id: str) -> None:
        with self._lock:
            self._unanswered.add(server_id)
        self._open.wait(HOLD_AT_MOST_S)
        with self._lock:
            self._unanswered.discard(server_id)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _forward(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length) if length else None
                target = proxy._target
                nova = http.client.HTTPConnection(target.hostname, target.port, timeout=120)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
                nova.request(self.command, self.path, body=body, headers=headers)
                answer = nova.getresponse()
                content = answer.read()
                nova.close()
                if self.command == "POST" and self.path.endswith("/servers"):
                    made = json.loads(content).get("server") if answer.status == 202 else None
                    if made:
                        proxy._keep(made["id"])
                if self.command == "DELETE" and "/servers/" in self.path and answer.status == 204:
                    proxy.deleted.add(self.path.rpartition("/")[2])
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = do_PUT = _forward

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
