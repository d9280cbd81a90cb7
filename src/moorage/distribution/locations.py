"""Addresses that answers carry: `Location` and `Link`."""

from urllib.parse import quote, urlencode

from moorage.distribution.challenge import Challenge
from moorage.distribution.exchange import Exchange
from moorage.distribution.options import Options

_SAFE = "/:@!$&'()*+,;=~-._"


class Locations:
    """Relative by default, so that no proxy in between has to be known."""

    def __init__(self, options: Options, challenge: Challenge) -> None:
        self._relative = options.relative_locations
        self._external = options.external_url.rstrip("/")
        self._challenge = challenge

    def location(self, exchange: Exchange, path: str) -> tuple[bytes, bytes]:
        """A `Location` header for a path below `/v2/`."""
        where = quote(f"/v2/{path}", safe=_SAFE)
        if not self._relative:
            where = self._origin(exchange) + where
        return (b"location", where.encode())

    def _origin(self, exchange: Exchange) -> str:
        if self._external:
            return self._external
        scheme: str = exchange.scope.get("scheme", "http")
        return self._challenge.origin(scheme, exchange.text(b"host"))

    @staticmethod
    def next_page(path: str, **parameters: str | int) -> tuple[bytes, bytes]:
        """A `Link` to the next page (RFC 8288), always relative."""
        query = urlencode(parameters)
        return (b"link", f'<{quote(f"/v2/{path}", safe=_SAFE)}?{query}>; rel="next"'.encode())
