"""The certificate that a process shows, renewed without a restart.

    cert-manager, a Secret ─► files change ─► look, every LOOK_SECONDS ─► new connections have it

Connections that are open keep theirs. Files that do not fit together, as while they are being
replaced, leave the old certificate where it is.
"""

import asyncio
import logging
import ssl
from pathlib import Path

from moorage.config.settings import HttpSettings

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0

Stamp = tuple[tuple[int, int], ...]


class Certificate:
    """A TLS context that follows its files."""

    def __init__(self, cert: Path, key: Path) -> None:
        """Raises OSError (also as ssl.SSLError) when the files cannot be used."""
        self._cert, self._key = cert, key
        self._stamp = self._look()
        self.context = self._fresh()

    def _fresh(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._cert, self._key)
        return context

    def _look(self) -> Stamp:
        found = [file.stat() for file in (self._cert, self._key)]
        return tuple((each.st_mtime_ns, each.st_ino) for each in found)

    def renew(self) -> bool:
        """Read the files if they changed; says whether there is a new certificate."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return False
            self._fresh()  # a half of a pair must not get into the context that is in use
            self.context.load_cert_chain(self._cert, self._key)
        except OSError as error:
            log.warning("cannot read the new certificate %s: %s", self._cert, error)
            return False
        self._stamp = stamp
        log.info("read the new certificate %s", self._cert)
        return True

    async def follow(self) -> None:
        """Renew for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.renew()


def certificate_of(http: HttpSettings) -> Certificate | None:
    """The certificate of the settings; raises OSError when it cannot be used."""
    if http.cert_file is None or http.key_file is None:
        return None
    return Certificate(http.cert_file, http.key_file)
