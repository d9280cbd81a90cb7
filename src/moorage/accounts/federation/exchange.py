"""A token of ours for a token of theirs (RFC 8693).

    their token ─► who says it is its issuer? ─► rules that believe that issuer, or nobody is asked
                ─► signed by the issuer's keys: those of the rule, or those that it publishes
                ─► time, audience, claims ─► the one robot account that is meant ─► our token

A token may be exchanged again until it ends: jobs try again. What is told of a failure is what the
caller's own token says, never what rules there are.
"""

import binascii
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from moorage.access.jwts import Issued
from moorage.access.jwts import moment as time_of
from moorage.accounts.federation.claims import texts
from moorage.accounts.federation.lending import Lending
from moorage.accounts.federation.rules import FederationRules, Rule
from moorage.accounts.issuers import Issuers, key_set, signed
from moorage.db.engine import Database
from moorage.db.transactions import Tx
from moorage.errors import Denied, Invalid, Unauthenticated
from moorage.events import RobotLent, emit

MAX_TOKEN = 16 << 10
"""Characters of a token that is brought."""
MAX_BELIEVERS = 500
"""Rules that may believe one issuer."""
LEEWAY = 60.0
"""Seconds by which clocks may differ."""


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


class Ambiguous(Denied):
    """Several robot accounts would be lent."""


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

    async def exchange(self, token: str, robot: str = "") -> Exchanged:
        """A token of ours; `robot` chooses an account when the rules of several match.

        Raises Invalid, Unauthenticated (the token is not good), Denied (no rule, or several robot
        accounts), Unreachable.
        """
        issuer = _issuer(token)
        rules = await self._rules.of_issuer(issuer, MAX_BELIEVERS)
        if robot:
            rules = [rule for rule in rules if rule.robot == robot]
        if not rules:
            raise Denied(f"no rule believes the issuer {issuer[:200]}")
        claims: Mapping[str, Any] = {}
        chosen: dict[int, Rule] = {}
        refused: Unauthenticated | None = None
        read: dict[bytes, Mapping[str, Any] | Unauthenticated] = {}
        for rule in rules:
            found = await self._read(rule, token, read)
            if isinstance(found, Unauthenticated):
                refused = found
                continue
            claims = found
            if not _reasons(rule, claims, self._now()):
                chosen.setdefault(rule.robot_id, rule)
        if refused is not None and not claims:
            raise refused
        return await self._lend(_one(chosen, claims), claims)

    async def _read(
        self, rule: Rule, token: str, read: dict[bytes, Mapping[str, Any] | Unauthenticated]
    ) -> Mapping[str, Any] | Unauthenticated:
        """The claims, verified with the keys that the rule believes; each set of keys once."""
        key = b"" if rule.jwks is None else orjson.dumps(rule.jwks, option=orjson.OPT_SORT_KEYS)
        if key not in read:
            try:
                if rule.jwks is None:
                    read[key] = await self._issuers.claims(rule.issuer, token)
                else:
                    read[key] = signed(token, key_set(rule.jwks))
            except Unauthenticated as error:
                read[key] = error
        return read[key]

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


def judge(rules: Sequence[Rule], claims: Mapping[str, Any]) -> list[Verdict]:
    """What each rule thinks of claims, signed or not, of whatever time; nothing is lent."""
    return [Verdict(rule, tuple(_reasons(rule, claims, None))) for rule in rules]


def _one(chosen: Mapping[int, Rule], claims: Mapping[str, Any]) -> Rule:
    if not chosen:
        said = ", ".join(f"{name} is {_said(claims, name)!r}" for name in ("iss", "aud", "sub"))
        raise Denied(f"no rule takes this token, or it has expired: {said}")
    if len(chosen) > 1:
        raise Ambiguous("several robot accounts would be lent; name one as audience")
    return next(iter(chosen.values()))


def _reasons(rule: Rule, claims: Mapping[str, Any], moment: float | None) -> list[str]:
    """Why the rule does not lend to a token with these claims; without a moment, time is left."""
    found = []
    if claims.get("iss") != rule.issuer:
        found.append("iss is another issuer")
    if rule.audience not in texts(claims, "aud"):
        found.append("aud does not hold the audience")
    if moment is not None and not _timely(claims, moment):
        found.append("exp, nbf or iat: it has expired, or is from the future")
    found += [f"{c.claim} does not match" for c in rule.constraints if not c.holds(claims)]
    return found


def _timely(claims: Mapping[str, Any], moment: float) -> bool:
    try:
        begins = [time_of(claims[name]) for name in ("nbf", "iat") if name in claims]
        expires = time_of(claims["exp"])
    except (TypeError, LookupError):
        return False
    return expires > moment - LEEWAY and all(begin <= moment + LEEWAY for begin in begins)


def _issuer(token: str) -> str:
    """Who the token says that it is from, before anything is known of it; raises Invalid."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN or not token.isascii() or len(parts) != 3:
        raise Invalid("the subject_token is not a signed JWT")
    text = parts[1].replace("-", "+").replace("_", "/")
    try:
        claims = orjson.loads(binascii.a2b_base64(text + "=="))
    except ValueError as error:
        raise Invalid("the subject_token is not a signed JWT") from error
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    if not isinstance(issuer, str) or not 1 <= len(issuer) <= 512 or not issuer.isprintable():
        raise Invalid("the subject_token names no issuer")
    return issuer


def _said(claims: Mapping[str, Any], name: str) -> str:
    return ", ".join(texts(claims, name))[:255]
