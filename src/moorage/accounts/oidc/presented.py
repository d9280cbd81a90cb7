"""ID tokens as credentials: what scripts and Terraform send as Bearer, and docker as a password.

    token ─► of the provider of the sign-in, for our client, no other kind of token, in time
          ─► the account of its issuer and subject, which a sign-in with a browser has made

It opens what the account may do until it ends, and neither a session nor the account's credentials:
a token passes through more hands than a password. Groups stay those of the last sign-in.
"""

from typing import Any

from sqlalchemy import select

from moorage.access.exchanged import EXCHANGED_TYPE
from moorage.access.jwts import peek
from moorage.access.principals import Principal
from moorage.access.tokens import REGISTRY_TYPE
from moorage.accounts.oidc.accounts import KIND
from moorage.accounts.oidc.provider import LEEWAY, Provider
from moorage.accounts.oidc.settings import MODE, OidcSettings
from moorage.accounts.records import Login
from moorage.accounts.standing import Standings, sooner, via_id_token
from moorage.db.engine import Database
from moorage.db.tables import identities, users
from moorage.errors import Unauthenticated
from moorage.settings import Current

_OURS = (REGISTRY_TYPE, EXCHANGED_TYPE)


class IdTokens:
    """Opens accounts by tokens of the provider; raises Unreachable while it does not answer."""

    def __init__(
        self, db: Database, settings: Current, provider: Provider, standings: Standings
    ) -> None:
        self._db = db
        self._settings = settings
        self._provider = provider
        self._standings = standings

    def takes(self, secret: str) -> bool:
        """Whether the text is a JWT that does not call itself one of ours."""
        if not secret.startswith("ey") or secret.count(".") != 2 or not secret.isascii():
            return False
        try:
            return peek(secret).get("typ") not in _OURS
        except Unauthenticated:
            return False

    async def open(self, account: str | None, secret: str) -> Login | None:
        """The account that it opens, or None; `account` is its name where one was given."""
        values = await self._settings.current()
        if values.auth_mode != MODE:
            return None
        try:
            claims = await self._provider.presented(OidcSettings.of(values), secret)
        except Unauthenticated:
            return None
        row = await self._user(claims)
        if row is None or account not in (None, row.username):
            return None
        ends = float(claims["exp"]) + LEEWAY
        principal = Principal("user", row.id, row.username, via=via_id_token(ends))
        standing = await self._standings.of(principal)
        if standing is None or standing.revision != row.revision:
            return None
        principal = Principal(
            "user", row.id, row.username, sysadmin=standing.sysadmin, via=principal.via
        )
        return Login(principal, row.revision, sooner(ends, standing.expires_at))

    async def _user(self, claims: dict[str, Any]) -> Any:
        query = (
            select(users.c.id, users.c.username, users.c.revision)
            .join(identities, identities.c.user_id == users.c.id)
            .where(
                identities.c.kind == KIND,
                identities.c.issuer == str(claims["iss"])[:512],
                identities.c.subject == claims["sub"],
            )
        )
        async with self._db.read() as tx:
            return (await tx.execute(query)).one_or_none()
