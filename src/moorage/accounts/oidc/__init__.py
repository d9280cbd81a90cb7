"""Sign-in by OpenID Connect.

OidcAccounts    the steps of a sign-in with a browser, and the accounts that come of it
IdTokens        ID tokens as credentials
Provider        what the identity provider says: discovery, keys, tokens
"""

from moorage.accounts.oidc.accounts import Began, OidcAccounts, Onboarding, SignedIn
from moorage.accounts.oidc.presented import IdTokens
from moorage.accounts.oidc.provider import Provider
from moorage.accounts.oidc.settings import OidcSettings

__all__ = [
    "Began",
    "IdTokens",
    "OidcAccounts",
    "OidcSettings",
    "Onboarding",
    "Provider",
    "SignedIn",
]
