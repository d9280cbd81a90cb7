"""Secrets at rest: AES-256-GCM under a key derived from `secret_key`.

    1 byte form · 4 bytes key id · 12 bytes nonce · ciphertext and tag

The purpose ("signing key 3f…") is authenticated along, so a ciphertext cannot be moved to another
row. The key id finds the right one of several while `secret_key` is being changed.
"""

import os
from collections.abc import Callable, Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_FORM = b"\x01"
_HEAD = 1 + 4 + 12


class CannotOpen(Exception):
    """The secret was encrypted under another key, or is damaged."""


class SecretBox:
    """Encrypts under `secret_key`; opens what that key or a former one encrypted."""

    def __init__(self, secret_key: str, previous: Iterable[str] = ()) -> None:
        previous = tuple(previous)
        # A function prints no key; a field would.
        self._derived: Callable[[bytes], bytes] = lambda info: _derive(secret_key, info)
        self._id, current = _key(secret_key)
        self._keys = dict(map(_key, previous)) | {self._id: current}
        self.fingerprint = _derive(secret_key, b"fingerprint").hex()
        """Tells one `secret_key` from another without telling it."""
        self.previous = frozenset(_derive(key, b"fingerprint").hex() for key in previous)
        """The fingerprints of the former keys."""

    def __repr__(self) -> str:
        return f"<SecretBox {self._id.hex()}>"

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for `purpose`, the same on every replica."""
        return self._derived(purpose.encode())

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Encrypt `plain` for one purpose."""
        nonce = os.urandom(12)
        sealed = self._keys[self._id].encrypt(nonce, plain, purpose.encode())
        return _FORM + self._id + nonce + sealed

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Decrypt what was sealed for that purpose; raises CannotOpen."""
        key = self._keys.get(sealed[1:5])
        if key is None or sealed[:1] != _FORM or len(sealed) < _HEAD:
            raise CannotOpen("encrypted under another secret_key")
        try:
            return key.decrypt(sealed[5:_HEAD], sealed[_HEAD:], purpose.encode())
        except InvalidTag as error:
            raise CannotOpen("damaged, or moved from another place") from error

    def outdated(self, sealed: bytes) -> bool:
        """Whether a former key encrypted it."""
        return sealed[1:5] != self._id


def _key(secret_key: str) -> tuple[bytes, AESGCM]:
    return _derive(secret_key, b"key id")[:4], AESGCM(_derive(secret_key, b"encryption"))


def _derive(secret_key: str, info: bytes) -> bytes:
    kdf = HKDF(hashes.SHA256(), 32, salt=b"moorage", info=info)
    return kdf.derive(secret_key.encode())
