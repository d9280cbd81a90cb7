"""What the settings of the sign-in can be, as far as that is told before anybody signs in."""

from collections.abc import Callable, Mapping

from moorage import patterns
from moorage.accounts.ldap.directory import check_filter
from moorage.accounts.ldap.settings import parse_url
from moorage.accounts.oidc.settings import check_url, parse_extra
from moorage.errors import Invalid


def _regex(text: str) -> None:
    try:
        patterns.compile(patterns.REGEX, text)
    except Invalid as error:
        raise Invalid(f"oidc_group_filter: {error.message}") from None


CHECKS: Mapping[str, Callable[[str], object]] = {
    "ldap_url": parse_url,
    "ldap_filter": lambda text: check_filter("ldap_filter", text),
    "ldap_group_search_filter": lambda text: check_filter("ldap_group_search_filter", text),
    "oidc_endpoint": check_url,
    "oidc_group_filter": _regex,
    "oidc_extra_redirect_parms": parse_extra,
}
"""By the name of the setting; each raises Invalid, and sees no empty text."""
