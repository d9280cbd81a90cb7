"""Where the directory is and how people are found in it; and who was found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from moorage.config.configuration import Configuration
from moorage.errors import Invalid

PORTS = {"ldap": 389, "ldaps": 636}


@dataclass(frozen=True, slots=True)
class LdapSettings:
    """One directory."""

    host: str
    port: int
    tls: bool
    search_dn: str  # who searches; "": nobody, where the server allows that
    search_password: str = field(repr=False)
    base_dn: str
    filter: str
    uid: str  # attribute of the user name
    scope: int  # 0 base, 1 one level, 2 subtree
    seconds: int
    verify: bool
    group_base_dn: str = ""
    group_filter: str = ""
    group_name: str = ""  # attribute
    group_scope: int = 2
    membership: str = "memberof"  # attribute of a user
    admin_dn: str = ""

    @classmethod
    def of(cls, values: Configuration) -> "LdapSettings":
        """Those of the operator; raises Invalid when something is missing."""
        host, port, tls = parse_url(values.ldap_url)
        if not values.ldap_base_dn:
            raise Invalid("ldap_base_dn is not set: the DN below which users are found")
        return cls(
            host=host,
            port=port,
            tls=tls,
            search_dn=values.ldap_search_dn,
            search_password=values.ldap_search_password.get_secret_value(),
            base_dn=values.ldap_base_dn,
            filter=values.ldap_filter,
            uid=values.ldap_uid or "cn",
            scope=values.ldap_scope,
            seconds=min(values.ldap_timeout, 60),
            verify=values.ldap_verify_cert,
            group_base_dn=values.ldap_group_base_dn,
            group_filter=values.ldap_group_search_filter,
            group_name=values.ldap_group_attribute_name,
            group_scope=values.ldap_group_search_scope,
            membership=values.ldap_group_membership_attribute or "memberof",
            admin_dn=values.ldap_group_admin_dn,
        )


def parse_url(url: str) -> tuple[str, int, bool]:
    """(host, port, whether TLS) of `ldap://host`, `ldaps://host:port` or `host:port`."""
    wrong = Invalid("ldap_url is ldap://host:port or ldaps://host:port")
    try:
        parts = urlsplit(url if "://" in url else f"ldap://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in PORTS or not host or parts.username is not None:
        raise wrong
    return host, port or PORTS[parts.scheme], parts.scheme == "ldaps"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom the directory knows."""

    key: str  # never changes there
    dn: str
    username: str
    realname: str = ""
    email: str = ""
    memberships: Mapping[str, str] = field(default_factory=dict)  # all that it names: DN → name
    groups: Mapping[str, str] = field(default_factory=dict)  # those that count: DN → name
