"""Who the provider is, and what its claims mean here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import orjson

from moorage.config.configuration import Configuration
from moorage.errors import Invalid

MODE = "oidc_auth"
OWN_PARAMETERS = frozenset(
    {
        "response_type",
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "response_mode",
        "request",
        "request_uri",
    }
)
"""Parameters of the provider's page that an operator cannot replace."""


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """One provider."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...]
    user_claim: str
    groups_claim: str
    admin_group: str
    group_filter: str
    verify: bool
    extra: Mapping[str, str]
    auto_onboard: bool
    logout: bool

    @classmethod
    def of(cls, values: Configuration) -> "OidcSettings":
        """Those of the operator; raises Invalid when something is missing."""
        if not values.oidc_client_id:
            raise Invalid("oidc_client_id is not set: the client's id at the provider")
        asked = values.oidc_scope.replace(",", " ").split() or ["profile", "email"]
        return cls(
            issuer=check_url(values.oidc_endpoint),
            client_id=values.oidc_client_id,
            client_secret=values.oidc_client_secret.get_secret_value(),
            scopes=tuple(dict.fromkeys(["openid", *asked])),
            user_claim=values.oidc_user_claim,
            groups_claim=values.oidc_groups_claim,
            admin_group=values.oidc_admin_group,
            group_filter=values.oidc_group_filter,
            verify=values.oidc_verify_cert,
            extra=parse_extra(values.oidc_extra_redirect_parms),
            auto_onboard=values.oidc_auto_onboard,
            logout=values.oidc_logout,
        )


def check_url(url: str) -> str:
    """The provider's URL without a slash at its end; raises Invalid."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("https", "http") and bool(parts.hostname) and not parts.username
    except ValueError:
        valid = False
    if not valid or "?" in url or "#" in url:
        raise Invalid("oidc_endpoint is the issuer's URL: https://issuer.example.com/realm")
    return url.rstrip("/")


def parse_extra(text: str) -> dict[str, str]:
    """Parameters for the provider's page; raises Invalid."""
    wrong = Invalid('oidc_extra_redirect_parms is a JSON object of texts: {"prompt": "login"}')
    try:
        found = orjson.loads(text or "{}")
    except ValueError:
        raise wrong from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise wrong
    taken = sorted(OWN_PARAMETERS & found.keys())
    if taken:
        raise Invalid(f"oidc_extra_redirect_parms cannot set {', '.join(taken)}")
    return found
