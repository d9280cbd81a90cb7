"""A token of ours for a token of theirs (RFC 8693).

    their token ─► the robot account that is asked for ─► its rules that believe the token's issuer
                ─► time, audience, claims, as it says: what fits no rule costs no signature
                ─► signed by the issuer's keys: those of the rule, or those that it publishes
                ─► our token

A token may be exchanged again until it ends: jobs try again. What is told of a failure is what the
caller's own token says, never what rules there are; the log says more.
"""

import asyncio
import binascii
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from joserfc.jwk import KeySet

from moorage.access.jwts import Issued
from moorage.access.jwts import moment as time_of
from moorage.accounts.federation.claims import texts
from moorage.accounts.federation.lending import Lending
from moorage.accounts.federation.rules import FederationRules, Rule
from moorage.accounts.issuers import Issuers, key_set, signed
from moorage.cache.lru import LRU
from moorage.db.engine import Database
from moorage.db.transactions import Tx
from moorage.errors import Denied, Invalid, MoorageError, Unauthenticated, Unreachable
from moorage.events import RobotLent, emit

log = logging.getLogger(__name__)

MAX_TOKEN = 16 << 10
"""Characters of a token that is brought."""
MAX_KEY_SETS = 8
"""Sets of keys that one token is tried with."""
ISSUER_AWAY = "the keys of the token's issuer cannot be had now"
"""All that is told of it: anybody may ask, and must not learn what this server can reach."""
LEEWAY = 60.0
"""Seconds by which clocks may differ."""
_KEPT, _KEPT_BYTES = 256, 4 << 20  # key sets of rules, and their sizes as JSON


@dataclass(frozen=True, slots=True)
class Exchanged:
    """Our token, and the robot account whose password it is."""

    issued: Issued = field(repr=False)
    robot: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule thinks of some claims."""

    rule: Rule
    reasons: tuple[str, ...]  # why not; empty: it lends

    @property
    def lends(self) -> bool:
        """Whether a signed token with these claims opens the robot account."""
        return not self.reasons


class Exchange:
    """Gives tokens for tokens."""

    def __init__(
        self,
        db: Database,
        rules: FederationRules,
        issuers: Issuers,
        lending: Lending,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._db = db
        self._rules = rules
        self._issuers = issuers
        self._lending = lending
        self._now = now
        self._imported: LRU[KeySet] = LRU(entries=_KEPT, size=_KEPT_BYTES)

    async def exchange(self, token: str, robot: str) -> Exchanged:
        """A token of ours that opens the robot account of that name.

        Raises Invalid, Denied (no rule of the robot account takes the token), Unreachable.
        """
        if not robot:
            raise Invalid(
                "the audience is missing: send audience=NAME with the name of the robot account "
                "that is wanted, such as robot$team+ci"
            )
        claims = _unverified(token)
        rules = await self._rules.of_issuer(str(claims["iss"]), robot)
        away: MoorageError | None = None
        async for rule in self._fitting(rules, claims):
            try:
                signed_claims = await self._verified(rule, token)
            except MoorageError as error:
                log.info("rule %s of %s: %s", rule.name, robot, error.message)
                away = away if isinstance(error, Unauthenticated) else error
                continue
            if self._takes(rule, signed_claims):
                return await self._lend(rule, signed_claims)
        if away is not None:
            raise Unreachable(ISSUER_AWAY) from away
        said = ", ".join(f"{name} is {_said(claims, name)!r}" for name in ("iss", "aud", "sub"))
        raise Denied(
            f"no rule of {robot[:255]} takes this token: {said}; "
            "or it has expired, or is not signed by its issuer"
        )

    async def _fitting(
        self, rules: Sequence[Rule], claims: Mapping[str, Any]
    ) -> AsyncIterator[Rule]:
        """Rules that would take the claims, one for each set of keys, MAX_KEY_SETS at most."""
        seen: set[str] = set()
        for rule in rules:
            await asyncio.sleep(0)  # patterns may cost some milliseconds: let others in between
            if self._takes(rule, claims) and (keys := _keys_of(rule)) not in seen:
                seen.add(keys)
                yield rule
            if len(seen) == MAX_KEY_SETS:
                return

    def _takes(self, rule: Rule, claims: Mapping[str, Any]) -> bool:
        return next(_reasons(rule, claims, self._now()), None) is None

    async def _verified(self, rule: Rule, token: str) -> Mapping[str, Any]:
        """The claims, signed with a key that the rule believes."""
        if rule.jwks is None:
            return await self._issuers.claims(rule.issuer, token)
        name = _keys_of(rule)
        keys = self._imported.get(name)
        if keys is None:
            keys = key_set(rule.jwks)
            self._imported.put(name, keys, len(orjson.dumps(rule.jwks)))
        return signed(token, keys)

    async def _lend(self, rule: Rule, claims: Mapping[str, Any]) -> Exchanged:
        issued = await self._lending.lend(rule)
        if issued is None:
            raise Denied("the rule or its robot account changed at this moment; try again")
        fact = RobotLent(
            operator=rule.robot,
            robot=rule.robot,
            project_id=rule.project_id,
            rule=rule.name,
            subject=_said(claims, "sub"),
            issuer=rule.issuer,
        )

        async def step(tx: Tx) -> None:
            await emit(tx, fact)

        await self._db.run(step)
        return Exchanged(issued, rule.robot)


async def judge(rules: Sequence[Rule], claims: Mapping[str, Any]) -> list[Verdict]:
    """What each rule thinks of claims, signed or not, of whatever time; nothing is lent."""
    verdicts = []
    for rule in rules:
        await asyncio.sleep(0)
        verdicts.append(Verdict(rule, tuple(_reasons(rule, claims, None))))
    return verdicts


def _keys_of(rule: Rule) -> str:
    """Tells one set of keys from another; "" for those that the issuer publishes."""
    if rule.jwks is None:
        return ""
    return hashlib.sha256(orjson.dumps(rule.jwks, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _reasons(rule: Rule, claims: Mapping[str, Any], moment: float | None) -> Iterator[str]:
    """Why the rule does not lend to a token with these claims; without a moment, time is left."""
    if claims.get("iss") != rule.issuer:
        yield "iss is another issuer"
    if rule.audience not in texts(claims, "aud"):
        yield "aud does not hold the audience"
    if moment is not None and not _timely(claims, moment):
        yield "exp, nbf or iat: it has expired, or is from the future"
    for constraint in rule.constraints:
        if not constraint.holds(claims):
            yield f"{constraint.claim} does not match"


def _timely(claims: Mapping[str, Any], moment: float) -> bool:
    try:
        begins = [time_of(claims[name]) for name in ("nbf", "iat") if name in claims]
        expires = time_of(claims["exp"])
    except (TypeError, LookupError):
        return False
    return expires > moment - LEEWAY and all(begin <= moment + LEEWAY for begin in begins)


def _unverified(token: str) -> Mapping[str, Any]:
    """What the token says, before anything is known of it, its issuer at least; raises Invalid."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN or not token.isascii() or len(parts) != 3:
        raise Invalid("the subject_token is not a signed JWT")
    text = parts[1].replace("-", "+").replace("_", "/")
    try:
        claims = orjson.loads(binascii.a2b_base64(text + "=="))
    except ValueError as error:
        raise Invalid("the subject_token is not a signed JWT") from error
    if not isinstance(claims, dict):
        raise Invalid("the subject_token is not a signed JWT")
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not 1 <= len(issuer) <= 512 or not issuer.isprintable():
        raise Invalid("the subject_token names no issuer")
    return claims


def _said(claims: Mapping[str, Any], name: str) -> str:
    return ", ".join(texts(claims, name))[:255]
