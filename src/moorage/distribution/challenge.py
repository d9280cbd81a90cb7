"""What a 401 asks for: `WWW-Authenticate`, so that clients find the token service.

the request carried          challenge
nothing                      Bearer with realm, service and the scope that is missing
a Bearer token               the same with error=invalid_token or insufficient_scope: clients
                             fetch another token, also anonymous ones whose token ran out
Basic credentials            Basic
anything, on _catalog        Basic: no token scope covers it
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from moorage.distribution.options import Options
from moorage.distribution.routes import Right

_HOST = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_ACTIONS: dict[Right, str] = {"pull": "pull", "push": "pull,push", "delete": "pull,delete"}

BASIC = b'Basic realm="harbor"'


def scope_of(repository: str, right: Right) -> str:
    """The token scope that grants `right` in `repository`; empty where no scope does."""
    actions = _ACTIONS.get(right)
    return f"repository:{repository}:{actions}" if actions and repository else ""


class Challenge:
    """Knows under which address clients reach the token service."""

    def __init__(self, options: Options) -> None:
        external = urlsplit(options.external_url)
        self._scheme = external.scheme
        self._host = external.netloc
        self._prefix = external.path.rstrip("/")
        self._service = options.token_service

    def origin(self, scheme: str, host: str) -> str:
        """Scheme, host and path prefix as clients see them.

        As Harbor does: the scheme of the external URL, since TLS may end at a proxy that does not
        say so, and the host that the client itself used, since a server may have several names.
        """
        if not _HOST.fullmatch(host):
            host = self._host or "localhost"
        return f"{self._scheme or scheme}://{host}{self._prefix}"

    def bearer(self, scheme: str, host: str, scopes: Iterable[str], error: str = "") -> bytes:
        """A Bearer challenge; `error` is one of RFC 6750 section 3.1."""
        fields = [
            f'realm="{self.origin(scheme, host)}/service/token"',
            f'service="{self._service}"',
        ]
        wanted = " ".join(filter(None, scopes))
        if wanted:
            fields.append(f'scope="{wanted}"')
        if error:
            fields.append(f'error="{error}"')
        return f"Bearer {','.join(fields)}".encode("latin-1")
