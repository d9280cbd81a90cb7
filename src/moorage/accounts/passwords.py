"""Hashes of passwords and secrets, each with its form in front.

    form                                           made for               cost
    $argon2id$v=19$m=19456,t=2,p=1$…               what a person chose    some 20 ms, 19 MiB
    $sha256$<salt>$<hex>                           random secrets of ours microseconds
    $pbkdf2-sha256$<iterations>$<salt>$<hex>       users that came from Harbor; upgraded at login

A random secret of 32 characters cannot be guessed from its digest, so a slow hash would only cost
every `podman pull` of a robot account its time.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from moorage.errors import Invalid, TooManyRequests

P = ParamSpec("P")
T = TypeVar("T")

SECRET_LENGTH = 32
"""Characters of a secret that is made here."""

MIN_LENGTH, MAX_LENGTH = 8, 128
"""Characters of a password (Harbor's rule)."""

WAITING = 64
"""Hashes that may wait for their turn; more are told to come back."""

_LETTERS = string.ascii_letters + string.digits
_MAX_ITERATIONS = 5_000_000
_PBKDF2 = re.compile(
    r"\$pbkdf2-sha256\$(?P<iterations>[0-9]{1,8})\$(?P<salt>[^$]+)\$(?P<hash>(?:[0-9a-f]{2}){16,64})"
)  # Harbor keeps 16 bytes of the key


def check_password(password: str) -> str:
    """Return `password` if it follows the rule; raises Invalid, without the password in it."""
    if not (
        MIN_LENGTH <= len(password) <= MAX_LENGTH
        and re.search(r"[a-z]", password)
        and re.search(r"[A-Z]", password)
        and re.search(r"[0-9]", password)
    ):
        raise Invalid(
            f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters, with at least one upper case "
            "letter, one lower case letter and one digit"
        )
    return password


def new_secret() -> str:
    """A random secret that follows the rule for passwords too."""
    while True:
        secret = "".join(secrets.choice(_LETTERS) for _ in range(SECRET_LENGTH))
        if (
            any(map(str.islower, secret))
            and any(map(str.isupper, secret))
            and any(map(str.isdigit, secret))
        ):
            return secret


def digest_secret(secret: str) -> str:
    """The hash of a secret from `new_secret`."""
    salt = secrets.token_hex(16)
    return f"$sha256${salt}${_salted(secret, salt)}"


def is_slow(encoded: str) -> bool:
    """Whether checking a hash of this form needs a thread."""
    return not encoded.startswith("$sha256$")


class Passwords:
    """Makes and checks hashes; slow ones in `threads` threads, so the event loop stays free."""

    def __init__(self, *, threads: int = 2, memory_kib: int = 19456, passes: int = 2) -> None:
        self._hasher = PasswordHasher(
            time_cost=passes, memory_cost=memory_kib, parallelism=1, type=Type.ID
        )
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._waiting = 0
        # Verified when the account is not there, so that the answer takes as long.
        self._dummy = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        """An Argon2id hash; raises TooManyRequests."""
        return await self._in_thread(self._hasher.hash, _bytes(password))

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Whether the password is right. None takes as long as a wrong one and is never right.

        Raises TooManyRequests when too many wait.
        """
        if encoded is None:
            await self._in_thread(self._slowly, self._dummy, password)
            return False
        if not is_slow(encoded):
            return _verify_salted(encoded, password)
        return await self._in_thread(self._slowly, encoded, password)

    def outdated(self, encoded: str) -> bool:
        """Whether a password of this hash should be hashed anew at the next login."""
        if not encoded.startswith("$argon2"):
            return True
        return self._hasher.check_needs_rehash(encoded)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _slowly(self, encoded: str, password: str) -> bool:
        if encoded.startswith("$pbkdf2-sha256$"):
            return _verify_pbkdf2(encoded, password)
        try:
            return self._hasher.verify(encoded, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._waiting >= WAITING:
            raise TooManyRequests("too many sign-ins at once; try again")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, partial(work, *args, **kwargs))
        finally:
            self._waiting -= 1


def harbor_hash(salt: str, password: str, iterations: int) -> str:
    """A user's hash as Harbor keeps it (`password`, `salt`, PBKDF2-SHA256), in the form above."""
    return f"$pbkdf2-sha256${iterations}${salt}${password.lower()}"


def _verify_pbkdf2(encoded: str, password: str) -> bool:
    form = _PBKDF2.fullmatch(encoded)
    if form is None or not 1 <= int(form["iterations"]) <= _MAX_ITERATIONS:
        return False
    expected = form["hash"]
    derived = hashlib.pbkdf2_hmac(
        "sha256",
        _bytes(password),
        form["salt"].encode(),
        int(form["iterations"]),
        len(expected) // 2,
    )
    return hmac.compare_digest(derived.hex(), expected)


def _verify_salted(encoded: str, secret: str) -> bool:
    _, _, salt, expected = encoded.split("$")
    return hmac.compare_digest(_salted(secret, salt), expected)


def _salted(secret: str, salt: str) -> str:
    return hmac.new(salt.encode(), _bytes(secret), hashlib.sha256).hexdigest()


def _bytes(text: str) -> bytes:
    # Lone surrogates come from JSON; they are wrong passwords, not errors.
    return text.encode("utf-8", "surrogatepass")
