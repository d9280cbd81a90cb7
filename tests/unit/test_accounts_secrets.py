"""Hashes of passwords, and secrets at rest."""

import asyncio
import hmac

import pytest
from pydantic import SecretStr, ValidationError

from moorage.access.secretbox import CannotOpen, SecretBox
from moorage.accounts.passwords import (
    WAITING,
    Passwords,
    check_password,
    digest_secret,
    harbor_hash,
    new_secret,
)
from moorage.config.auth import AuthSettings
from moorage.errors import Invalid, TooManyRequests

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("password", ["Aa345678", "A" + "a" * 126 + "1", "Pässw0rdÄ"])
def test_passwords_that_follow_the_rule(password: str) -> None:
    """8 to 128 characters with upper case, lower case and a digit."""
    assert check_password(password) == password


@pytest.mark.parametrize(
    "password", ["", "Aa34567", "aa345678", "AA345678", "Aaaaaaaa", "Aa1" + "x" * 126]
)
def test_passwords_that_do_not(password: str) -> None:
    """Refused, without the password in the message."""
    with pytest.raises(Invalid) as caught:
        check_password(password)
    assert not password or password not in str(caught.value)


async def test_argon2id_hashes() -> None:
    """Two hashes of one password differ; each is right for it alone."""
    passwords = Passwords(memory_kib=8, passes=1)
    first, second = await passwords.hash("Aa345678"), await passwords.hash("Aa345678")
    assert first != second
    assert first.startswith("$argon2id$")
    for encoded in (first, second):
        assert await passwords.verify(encoded, "Aa345678")
        assert not await passwords.verify(encoded, "Aa345679")
    assert not passwords.outdated(first)
    assert Passwords(memory_kib=16, passes=1).outdated(first)
    passwords.close()


async def test_time_does_not_tell_how_much_of_a_secret_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Right or wrong, it is compared as a whole.

    GO-2023-2109, Harbor f2eccb11.
    """
    compared = []

    def counted(one: str, other: str) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", counted)
    passwords = Passwords(memory_kib=8, passes=1)
    passwords.close()
    encoded = digest_secret("a secret")
    assert await passwords.verify(encoded, "a secret")
    assert not await passwords.verify(encoded, "a secreT")
    assert len(compared) == 2


async def test_a_secret_of_ours_is_quick_to_check() -> None:
    """It is long and random, so a salted digest is enough, and no thread is needed."""
    passwords = Passwords(memory_kib=8, passes=1)
    passwords.close()
    secret = new_secret()
    encoded = digest_secret(secret)
    assert len(encoded) <= 128
    assert encoded != digest_secret(secret)
    assert await passwords.verify(encoded, secret)
    assert not await passwords.verify(encoded, secret[:-1])


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "plain",
        "$argon2id$broken",
        harbor_hash("salt", "", 4096),
        harbor_hash("salt", "00" * 16, 0),
        harbor_hash("salt", "00" * 16, 99_999_999),
        harbor_hash("salt", "zz" * 16, 1),
        "$pbkdf2-sha256$1$salt",
    ],
)
async def test_broken_hashes_match_nothing(encoded: str) -> None:
    """Nor do they cost minutes."""
    passwords = Passwords(memory_kib=8, passes=1)
    assert not await passwords.verify(encoded, "Aa345678")
    passwords.close()


async def test_a_flood_of_sign_ins_is_told_to_wait() -> None:
    """The queue of hashes is bounded."""
    passwords = Passwords(memory_kib=8, passes=1)
    answers = await asyncio.gather(
        *(passwords.hash("Aa345678") for _ in range(WAITING + 5)), return_exceptions=True
    )
    assert sum(isinstance(answer, TooManyRequests) for answer in answers) == 5
    assert await passwords.hash("Aa345678")
    passwords.close()


def test_what_is_sealed_opens_under_the_same_key_and_purpose() -> None:
    """And under nothing else; no two seals are alike."""
    box = SecretBox("a secret key for this test")
    sealed = box.seal(b"secret", "registry 1")
    assert b"secret" not in sealed
    assert sealed != box.seal(b"secret", "registry 1")
    assert SecretBox("a secret key for this test").open(sealed, "registry 1") == b"secret"
    for other, purpose in (
        (box, "registry 2"),
        (SecretBox("another key for this test"), "registry 1"),
    ):
        with pytest.raises(CannotOpen):
            other.open(sealed, purpose)


def test_every_changed_byte_is_noticed() -> None:
    """Also a cut one."""
    box = SecretBox("a secret key for this test")
    sealed = box.seal(b"secret", "x")
    for place in range(len(sealed)):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        for broken in (changed, sealed[:place]):
            with pytest.raises(CannotOpen):
                box.open(broken, "x")


def test_former_keys_open_and_do_not_seal() -> None:
    """`outdated` tells what should be sealed anew."""
    old = SecretBox("the former secret key")
    box = SecretBox("the present secret key", ["the former secret key"])
    sealed = old.seal(b"secret", "x")
    assert box.open(sealed, "x") == b"secret"
    assert box.outdated(sealed)
    assert not box.outdated(box.seal(b"secret", "x"))
    assert old.fingerprint in box.previous


def test_keys_stay_out_of_texts() -> None:
    """Neither the box nor the settings print them."""
    box = SecretBox("a secret key for this test")
    assert "a secret key" not in repr(box) + str(vars(box))
    settings = AuthSettings(
        secret_key=SecretStr("a secret key for this test"), admin_password=SecretStr("Aa345678")
    )
    assert "a secret key" not in repr(settings) + settings.model_dump_json()
    assert "Aa345678" not in repr(settings)


@pytest.mark.parametrize(
    "values",
    [
        {"secret_key": "short"},
        {"secret_key": "not-a-secure-key"},
        {"previous_secret_keys": ["short"]},
        {"admin_password": "Harbor12345"},
        {"unknown": 1},
    ],
)
def test_settings_that_are_refused(values: dict[str, object]) -> None:
    """Published defaults, weak keys, and what no client could use; the value is not repeated.

    GHSA-j7jh-fmcm-xxwv, CVE-2026-4404.
    """
    with pytest.raises(ValidationError) as caught:
        AuthSettings.model_validate(values)
    assert "Harbor12345" not in str(caught.value)
