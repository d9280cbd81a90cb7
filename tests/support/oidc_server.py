"""Identity providers: a real one, and one that lies."""

import base64
import hmac
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from tests.support.requirements import require


@dataclass
class RealProvider:
    """The provider of the package oidc-provider-mock, on a socket."""

    issuer: str

    @property
    def settings(self) -> dict[str, str]:
        """Of a registry whose people sign in here."""
        return {
            "auth_mode": "oidc_auth",
            "oidc_name": "Harbour office",
            "oidc_endpoint": self.issuer,
            "oidc_client_id": "moorage",
            "oidc_client_secret": "secret",
            "oidc_scope": "openid,email,profile",
        }

    def user(self, sub: str, **claims: Any) -> None:
        """Somebody with these claims."""
        answer = httpx2.put(f"{self.issuer}/users/{sub}", json=claims)
        assert answer.is_success, answer.text

    def authorize(self, url: str, sub: str) -> str:
        """Somebody signs in on the provider's page; returns where his browser is sent."""
        answer = httpx2.post(url, data={"sub": sub}, follow_redirects=False)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["location"])


@pytest.fixture
def oidc_provider() -> Iterator[RealProvider]:
    """A provider that knows nobody yet."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about its own dependencies
        try:
            from oidc_provider_mock import run_server_in_thread
        except ImportError:
            require("the Python package oidc-provider-mock")
            raise
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        with run_server_in_thread(require_nonce=True) as server:
            yield RealProvider(f"http://localhost:{server.server_port}")


@dataclass
class LyingProvider:
    """A provider whose tokens say what a test wants."""

    issuer: str = ""
    key: RSAKey = field(default_factory=lambda: new_key("one"))
    published: list[RSAKey] = field(default_factory=list)
    header: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    said_issuer: str = ""  # what discovery says, when it is another
    mac: bool = False  # sign by HS256 under the public key
    none: bool = False  # no signature at all
    keys_uri: str = ""  # what discovery says of the keys, when it is elsewhere
    pages: dict[str, str] = field(default_factory=dict)  # what discovery says besides
    keys_status: int = 200
    token_status: int = 200
    nonces: dict[str, str] = field(default_factory=dict)
    verifiers: list[str] = field(default_factory=list)
    looks: int = 0  # for keys

    def authorize(self, url: str) -> tuple[str, str]:
        """(state, code) of a sign-in."""
        query = parse_qs(urlsplit(url).query)
        code = f"code{len(self.nonces)}"
        self.nonces[code] = query["nonce"][0]
        return query["state"][0], code

    def answer(self, path: str, form: dict[str, list[str]]) -> tuple[int, Any]:
        """Status and JSON of a request."""
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.said_issuer or self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": self.keys_uri or f"{self.issuer}/keys",
                **self.pages,
            }
        if path == "/keys":
            self.looks += 1
            keys = self.published or [self.key]
            return self.keys_status, {"keys": [key.as_dict(private=False) for key in keys]}
        if path == "/token":
            self.verifiers += form["code_verifier"]
            nonce = self.nonces.get(form["code"][0], "")
            return self.token_status, {"id_token": self.token(nonce), "access_token": "x"}
        return 404, {}

    def token(self, nonce: str) -> str:
        """An ID token with whatever is wrong about it."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": "client",
            "sub": "1",
            "name": "alice",
            "nonce": nonce,
            "iat": now,
            "exp": now + 300,
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": "RS256", "kid": self.key.kid, **self.header}
        if self.none:
            parts = (json.dumps({**header, "alg": "none"}), json.dumps(claims), "")
            return ".".join(_encoded(part) for part in parts)
        if self.mac:
            said = json.dumps({**header, "alg": "HS256"})
            signed = f"{_encoded(said)}.{_encoded(json.dumps(claims))}"
            mac = hmac.digest(self.key.as_pem(private=False), signed.encode(), "sha256")
            return f"{signed}.{_encoded(mac)}"
        return jwt.encode(header, claims, self.key)


def new_key(kid: str) -> RSAKey:
    """A key that signs."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


def _encoded(content: str | bytes) -> str:
    content = content if isinstance(content, bytes) else content.encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.fixture
def lying_provider() -> Iterator[LyingProvider]:
    """One that tells the truth until a test wants otherwise."""
    lying = LyingProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self._reply(parse_qs(body))

        def _reply(self, form: dict[str, list[str]]) -> None:
            status, said = lying.answer(self.path, form)
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    lying.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield lying
    server.shutdown()
    thread.join()
    server.server_close()
