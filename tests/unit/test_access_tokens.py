"""Tokens of the registry, and what attackers make of them."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry
from tests.support.clocks import TurnedClock

from moorage.access.jwts import ALGORITHM, LEEWAY, KeyRing, SigningKey, UnknownKey
from moorage.access.principals import ANONYMOUS, Principal
from moorage.access.tokens import REGISTRY_TYPE, Right, Tokens
from moorage.errors import Unauthenticated

ALICE = Principal("user", 7, "alice", sysadmin=True)
PULL = {"a/b": Right(frozenset({"pull"}), (3, 1700000000.25))}
LIFETIME = 1800


def make_key(kid: str, retires_at: float | None = None) -> SigningKey:
    """A fresh key."""
    return SigningKey(kid, ECKey.generate_key("P-256").as_pem(private=True), retires_at)


OURS = make_key("ours")
THEIRS = make_key("ours")  # the same id, another key


class Service:
    """Tokens with a clock, and a forger who knows all but the key."""

    def __init__(self, *keys: SigningKey) -> None:
        self.clock = TurnedClock()
        self.ring = KeyRing(keys or [OURS])
        self.tokens = Tokens(
            self.ring, issuer="issuer", audience="registry", lifetime=LIFETIME, clock=self.clock
        )

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a good token, changed; None leaves one out."""
        now = int(self.clock.now().timestamp())
        claims: dict[str, Any] = {
            "iss": "issuer",
            "aud": "registry",
            "sub": "alice",
            "iat": now,
            "nbf": now - 60,
            "exp": now + LIFETIME,
            "who": ["user", 7, 1],
            "access": [{"type": "repository", "name": "a/b", "actions": ["pull"]}],
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def sign(self, claims: Any, key: SigningKey = OURS, **header: Any) -> str:
        """A token signed by `key`."""
        fields = {"alg": ALGORITHM, "kid": "ours", "typ": REGISTRY_TYPE, **header}
        private = ECKey.import_key(key.private_key)
        head, body = _b64(fields), _b64(claims)
        algorithm = JWSRegistry(algorithms=[ALGORITHM]).get_alg(ALGORITHM)
        signature = algorithm.sign(f"{head}.{body}".encode(), private)
        return f"{head}.{body}.{_bytes64(signature)}"


def _bytes64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _b64(value: Any) -> str:
    return _bytes64(json.dumps(value).encode())


@pytest.fixture
def service() -> Service:
    """Tokens of one installation."""
    return Service()


def test_a_token_says_who_and_what(service: Service) -> None:
    """Account, revision, rights and the project they were taken from come back exactly."""
    issued = service.tokens.issue(ALICE, PULL, revision=2**48 - 1)
    verified = service.tokens.verify(issued.token)
    assert verified.principal == Principal("user", 7, "alice")
    assert verified.revision == 2**48 - 1
    assert verified.access == PULL
    assert issued.expires_in == LIFETIME


def test_a_token_makes_no_administrator(service: Service) -> None:
    """What a token allows stands in it; the account's flag does not come along."""
    assert not service.tokens.verify(service.tokens.issue(ALICE, {}).token).principal.sysadmin


def test_a_token_of_nobody(service: Service) -> None:
    """Public projects are pulled with it."""
    assert service.tokens.verify(service.tokens.issue(ANONYMOUS, PULL).token).access == PULL


def test_the_forger_of_these_tests_can_sign(service: Service) -> None:
    """With the right key and claims his token is accepted, so the refusals below mean something."""
    assert service.tokens.verify(service.sign(service.claims())).access["a/b"].actions == {"pull"}


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "another"},
        {"iss": None},
        {"iss": ["issuer"]},
        {"aud": "another"},
        {"aud": None},
        {"aud": ["registry", "another"]},
        {"iat": None},
        {"iat": "now"},
        {"iat": True},
        {"iat": 9e15},
        {"exp": None},
        {"exp": 1},
        {"exp": 9e15},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"nbf": None},
        {"nbf": 9e15},
        {"sub": None},
        {"who": None},
        {"who": ["root", 1, 1]},
        {"who": ["user", "1", 1]},
        {"who": ["user", True, 1]},
        {"who": []},
        {"access": None},
        {"access": [{}]},
        {"access": "a/b"},
        {"access": {"a/b": ["pull"]}},
        {"access": [{"type": "repository", "name": "a/b", "actions": None}]},
        {"access": [{"type": "repository", "name": "a/b", "actions": [], "project": [1]}]},
    ],
    ids=str,
)
def test_claims_that_are_not_ours_are_refused(service: Service, changes: dict[str, Any]) -> None:
    """Even when the signature is right: fuzzed claims end in a refusal, never in an error.

    CVE-2026-123710, Harbor 8b822331.
    """
    with pytest.raises(Unauthenticated):
        service.tokens.verify(service.sign(service.claims(**changes)))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"alg": None},
        {"kid": "unknown"},
        {"kid": None},
        {"kid": ["ours"]},
        {"kid": "../../dev/null"},
        {"typ": "JWT"},
        {"typ": None},
        {"typ": "refresh+jwt"},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
    ],
    ids=str,
)
def test_a_header_that_is_not_ours_is_refused(service: Service, header: dict[str, Any]) -> None:
    """Algorithm, key id and class are fixed."""
    with pytest.raises(Unauthenticated):
        service.tokens.verify(service.sign(service.claims(), **header))


def test_no_signature_at_all(service: Service) -> None:
    """`alg: none`, in all its spellings of the third part."""
    for algorithm in ("none", "NONE", ALGORITHM):
        unsigned = f"{_b64({'alg': algorithm, 'kid': 'ours', 'typ': REGISTRY_TYPE})}."
        for token in (
            unsigned + _b64(service.claims()) + ".",
            unsigned + _b64(service.claims()),
            unsigned + _b64(service.claims()) + ".AAAA",
        ):
            with pytest.raises(Unauthenticated):
                service.tokens.verify(token)


@pytest.mark.parametrize("algorithm", ["HS256", ALGORITHM])
def test_the_public_key_is_no_shared_secret(service: Service, algorithm: str) -> None:
    """HMAC under the public key, which everybody knows, is no signature."""
    public = ECKey.import_key(OURS.private_key).as_pem(private=False)
    for secret in (public, public.strip(), b""):
        head = _b64({"alg": algorithm, "kid": "ours", "typ": REGISTRY_TYPE})
        signed = f"{head}.{_b64(service.claims())}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        with pytest.raises(Unauthenticated):
            service.tokens.verify(f"{signed}.{_bytes64(mac)}")


def test_another_key_of_the_same_id(service: Service) -> None:
    """The id selects the key; it is no proof."""
    with pytest.raises(Unauthenticated):
        service.tokens.verify(service.sign(service.claims(), THEIRS))


@pytest.mark.parametrize("name", ["jwk", "jku", "x5c", "x5u"])
def test_a_key_in_the_header_is_never_used(service: Service, name: str) -> None:
    """A token that brings its own key is judged by ours (CVE-2025-24976)."""
    public = ECKey.import_key(THEIRS.private_key).as_dict(private=False)
    brought: dict[str, Any] = {
        "jwk": public,
        "jku": "http://127.0.0.1:9/keys",
        "x5c": ["MIIB"],
        "x5u": "http://127.0.0.1:9/cert",
    }
    with pytest.raises(Unauthenticated):
        service.tokens.verify(service.sign(service.claims(), THEIRS, **{name: brought[name]}))


def test_every_tampered_character_is_noticed(service: Service) -> None:
    """No single changed character leaves a valid token with other content."""
    token = service.tokens.issue(ALICE, PULL).token
    honest = service.tokens.verify(token)
    for place in range(0, len(token), 7):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        try:
            verified = service.tokens.verify(changed)
        except Unauthenticated:
            continue
        assert verified == honest  # unused bits at the end of a base64 part


def test_a_token_expires_after_its_time_and_the_leeway(service: Service) -> None:
    """Clocks of replicas may differ by the leeway, by no more."""
    token = service.tokens.issue(ALICE, PULL).token
    service.clock.advance(LIFETIME + LEEWAY - 2)
    service.tokens.verify(token)
    service.clock.advance(3)
    with pytest.raises(Unauthenticated):
        service.tokens.verify(token)


def test_a_token_from_a_clock_ahead(service: Service) -> None:
    """A replica that is ahead by less than the leeway issues usable tokens; others do not."""
    service.clock.advance(LEEWAY - 2)
    near = service.tokens.issue(ALICE, PULL).token
    service.clock.advance(4)
    far = service.tokens.issue(ALICE, PULL).token
    service.clock.advance(-LEEWAY - 2)
    service.tokens.verify(near)
    with pytest.raises(Unauthenticated):
        service.tokens.verify(far)


def test_a_retired_key_verifies_until_its_time(service: Service) -> None:
    """The next key signs at once, and what the former signed stays valid for a while."""
    token = service.tokens.issue(ALICE, PULL).token
    until = service.clock.now().timestamp() + 100
    service.ring.replace([make_key("next"), SigningKey("ours", OURS.private_key, until)])
    service.tokens.verify(token)
    header = json.loads(
        base64.b64decode(service.tokens.issue(ALICE, {}).token.split(".")[0] + "==")
    )
    assert header["kid"] == "next"
    service.clock.advance(101)
    with pytest.raises(UnknownKey):
        service.tokens.verify(token)


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a.b.c", "é.é.é", "e30.e30.e30", "W10.W10.W10", "x" * 100_000, "\x00"],
)
def test_what_is_no_token(service: Service, token: str) -> None:
    """Refused, not failed."""
    with pytest.raises(Unauthenticated):
        service.tokens.verify(token)


@given(st.text(max_size=60), st.integers(0, 2))
def test_any_text_in_any_part(text: str, part: int) -> None:
    """Whatever stands in a part, the answer is a refusal."""
    service = Service()
    parts = service.tokens.issue(ALICE, PULL).token.split(".")
    if parts[part] == text:
        return
    parts[part] = text
    with pytest.raises(Unauthenticated):
        service.tokens.verify(".".join(parts))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=8,
    ),
    st.sampled_from(["iat", "exp", "nbf", "who", "access"]),
)
def test_any_json_in_a_claim(value: Any, name: str) -> None:
    """A signed token with any JSON in a claim is read or refused."""
    service = Service()
    try:
        service.tokens.verify(service.sign(service.claims(**{name: value})))
    except Unauthenticated:
        return


def test_keys_and_tokens_stay_out_of_texts(service: Service) -> None:
    """Neither the key nor a token shows where objects are printed."""
    issued = service.tokens.issue(ALICE, PULL)
    assert issued.token not in repr(issued)
    assert "PRIVATE" not in repr(OURS)
    with pytest.raises(Unauthenticated) as caught:
        service.tokens.verify(issued.token[:-8])
    assert issued.token[:-8] not in str(caught.value)
