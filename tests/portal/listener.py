"""Another server, to which registries, webhooks and settings lead: it tells what it was sent."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Told:
    """Where the server is, and the headers of each request that came, in lower case."""

    address: str = ""
    headers: list[Mapping[str, str]] = field(default_factory=list)

    def bears(self, header: str) -> bool:
        """Whether exactly this was sent to it as `Authorization`."""
        return any(each.get("authorization") == header for each in self.headers)

    def holds(self, secret: str) -> bool:
        """Whether a secret was sent to it, as it is or in a header of an account."""
        return any(
            secret in value or name == "authorization"
            for each in self.headers
            for name, value in each.items()
        )


@contextmanager
def listener(*, answers: bool = True) -> Iterator[Told]:
    """One that takes what it is told; or one that never says that it did."""
    told, over = Told(), threading.Event()

    class Listener(BaseHTTPRequestHandler):
        def answer(self) -> None:
            told.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not answers:
                over.wait()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_HEAD = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        told.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield told
        finally:
            over.set()
            server.shutdown()
            thread.join()
