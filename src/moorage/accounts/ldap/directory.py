"""One connection to an LDAP server. It blocks; nothing else here knows the library ldap3.

What a caller types becomes part of a filter only after it was escaped (RFC 4515). Referrals are not
followed: they would send the password of the search account wherever the server says.
"""

import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from moorage.accounts import dn
from moorage.accounts.ldap.settings import LdapSettings, Person
from moorage.errors import Invalid, Unreachable, Unsupported

MOST = 1000
"""Entries of one search, and groups of one person."""

_OK, _SIZE_LIMIT, _NO_SUCH_OBJECT, _INVALID_DN, _REFUSED, _UNWILLING = 0, 4, 32, 34, 49, 53
_KEYS = ("entryuuid", "objectguid", "nsuniqueid", "ipauniqueid")
_WHY = {
    "certificate verify failed": "its certificate is not trusted",
    "timed out": "it does not answer in time",
    "refused": "it refuses connections",
    "ssl wrapping": "it speaks no TLS that is secure",
}
_SCOPES = ("BASE", "LEVEL", "SUBTREE")


class Directory:
    """A connection, bound as the search account; a context manager.

    Raises Unreachable when the server does not answer as it should, Invalid when it refuses the
    search account, Unsupported when the library is not installed.
    """

    def __init__(
        self, settings: LdapSettings, addresses: Sequence[str], context: ssl.SSLContext | None
    ) -> None:
        self._settings = settings
        self._addresses = addresses
        self._context = context
        try:
            import ldap3
        except ImportError:
            raise Unsupported("LDAP needs the package ldap3: install moorage[ldap]") from None
        self._ldap3 = ldap3

    def __enter__(self) -> "Directory":
        settings = self._settings
        if settings.search_dn and not settings.search_password:
            raise Invalid("ldap_search_dn needs ldap_search_password")
        self._connection, code = self._bound(settings.search_dn, settings.search_password)
        if code != _OK:
            self._close(self._connection)
            raise Invalid("the LDAP server refuses ldap_search_dn with that password")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close(self._connection)

    def accepts(self, name: str, password: str) -> bool:
        """Whether the server accepts the password of the entry with this DN."""
        if not password:  # a server takes that for nobody at all, and is content
            return False
        connection, code = self._bound(name, password)
        self._close(connection)
        if code in (_OK, _REFUSED, _UNWILLING, _NO_SUCH_OBJECT):
            return bool(code == _OK)
        raise Unreachable(f"the LDAP server cannot check passwords now: result {code}")

    def people(self, username: str, *, most: int = MOST) -> list[Person]:
        """Users of that name in any case of letters; all, when it is empty."""
        settings = self._settings
        wanted = self.escaped(username) if username else "*"
        name = f"({settings.uid}={wanted})"
        found = self._search(
            settings.base_dn,
            _both(settings.filter, name),
            settings.scope,
            [settings.uid, "cn", "mail", "email", settings.membership, *_KEYS],
            most,
        )
        return [self._person(entry, attributes, username) for entry, attributes in found]

    def with_groups(self, person: Person) -> Person:
        """The same person with the groups that count: below the base, and fitting the filter."""
        settings = self._settings
        base = dn.normal(settings.group_base_dn) if settings.group_base_dn else ""
        names = person.memberships
        if not names and base:
            names = dict(_named(each for each, _ in self._listing(person)))
        inside = sorted(name for name in names if not base or _below(name, base))[:MOST]
        groups: dict[str, str] = {}
        for name in inside:
            if settings.group_filter or settings.group_name:
                groups.update(self.groups(group_dn=name))
            else:
                groups[name] = names[name]
        return Person(
            person.key,
            person.dn,
            person.username,
            person.realname,
            person.email,
            names,
            groups,
        )

    def groups(self, name: str = "", group_dn: str = "") -> dict[str, str]:
        """Groups by DN, or by part of the name: DN → name."""
        settings = self._settings
        attribute = settings.group_name or "cn"
        condition = f"({attribute}=*{self.escaped(name)}*)" if name else f"({attribute}=*)"
        base, scope = settings.group_base_dn or settings.base_dn, settings.group_scope
        if group_dn:
            base, scope, condition = group_dn, 0, "(objectClass=*)"
        found = self._search(
            base, _both(settings.group_filter, condition), scope, [attribute], MOST
        )
        return {
            dn.normal(entry): _text(attributes, attribute) or dn.first_value(entry)
            for entry, attributes in found
        }

    def escaped(self, text: str) -> str:
        """A value as it stands in a filter."""
        from ldap3.utils.conv import escape_filter_chars

        return str(escape_filter_chars(text))

    def _listing(self, person: Person) -> Iterator[tuple[str, Mapping[str, Sequence[bytes]]]]:
        """Groups that list the person, of servers whose users do not name their groups."""
        settings = self._settings
        name = self.escaped(person.dn)
        user = self.escaped(person.username)
        listed = f"(|(member={name})(uniqueMember={name})(memberUid={user}))"
        return self._search(
            settings.group_base_dn,
            _both(settings.group_filter, listed),
            settings.group_scope,
            ["cn"],
            MOST,
        )

    def _bound(self, name: str, password: str) -> tuple[Any, int]:
        """A new connection and what the server said to the bind."""
        ldap3, settings = self._ldap3, self._settings
        failure: Exception = OSError()
        for address in self._addresses:
            server = ldap3.Server(
                address,
                port=settings.port,
                use_ssl=settings.tls,
                tls=_tls(self._context, settings.host) if settings.tls else None,
                get_info=ldap3.NONE,
                connect_timeout=settings.seconds,
            )
            connection = ldap3.Connection(
                server,
                user=name or None,
                password=password or None,
                authentication=ldap3.SIMPLE if name else ldap3.ANONYMOUS,
                auto_referrals=False,
                read_only=True,
                check_names=False,
                receive_timeout=settings.seconds,
            )
            try:
                connection.open(read_server_info=False)
                connection.bind(read_server_info=False)
            except (ldap3.core.exceptions.LDAPException, OSError) as error:
                self._close(connection)
                failure = error
                continue
            return connection, int(connection.result["result"])
        raise Unreachable(f"{settings.host}:{settings.port}: {_why(failure)}") from failure

    def _close(self, connection: Any) -> None:
        try:
            connection.unbind()
        except (self._ldap3.core.exceptions.LDAPException, OSError):
            pass
        finally:
            if connection.socket is not None:  # the library leaves it open when nobody answered
                connection.socket.close()

    def _search(
        self, base: str, condition: str, scope: int, attributes: list[str], most: int
    ) -> Iterator[tuple[str, Mapping[str, Sequence[bytes]]]]:
        """(DN, attributes in lower case) of entries."""
        ldap3, settings = self._ldap3, self._settings
        try:
            self._connection.search(
                base,
                condition,
                search_scope=getattr(ldap3, _SCOPES[scope]),
                dereference_aliases=ldap3.DEREF_NEVER,
                attributes=sorted(set(attributes)),
                size_limit=most,
                time_limit=settings.seconds,
            )
        except (ldap3.core.exceptions.LDAPInvalidFilterError, RecursionError, ValueError):
            raise Invalid("the LDAP filter is not valid: (objectClass=person)") from None
        except ldap3.core.exceptions.LDAPInvalidDnError:
            raise Invalid("a DN of the LDAP settings is not valid") from None
        except (ldap3.core.exceptions.LDAPException, OSError) as error:
            raise Unreachable(f"{settings.host}:{settings.port}: {_why(error)}") from error
        code = int(self._connection.result["result"])
        if code == _INVALID_DN:
            raise Invalid(f"the LDAP server does not take {base[:200]!r} for a DN")
        if code not in (_OK, _SIZE_LIMIT, _NO_SUCH_OBJECT):
            said = str(self._connection.result.get("description", ""))[:100]
            raise Unreachable(f"the LDAP server cannot search: {said}")
        for entry in self._connection.response or ():
            if entry["type"] == "searchResEntry":
                values = {name.lower(): found for name, found in entry["raw_attributes"].items()}
                yield entry["dn"], values

    def _person(
        self, entry: str, attributes: Mapping[str, Sequence[bytes]], username: str
    ) -> Person:
        settings = self._settings
        named = attributes.get(settings.membership.lower(), ())
        return Person(
            key=_key(attributes) or dn.normal(entry),
            dn=entry,
            username=_text(attributes, settings.uid, username),
            realname=_text(attributes, "cn"),
            email=_text(attributes, "mail") or _text(attributes, "email"),
            memberships=dict(_named(each.decode(errors="replace") for each in named[:MOST])),
        )


def check_filter(name: str, text: str) -> None:
    """Raises Invalid when the setting `name` cannot be this filter.

    Without the library nothing is told: then nobody can use the filter either.
    """
    try:
        from ldap3.core.exceptions import LDAPInvalidFilterError
        from ldap3.operation.search import compile_filter, parse_filter
    except ImportError:
        return
    try:
        found = parse_filter(_both(text, "(cn=*)"), None, True, True, None, False)
        compile_filter(found.elements[0])
    except (LDAPInvalidFilterError, RecursionError, ValueError):
        raise Invalid(f"{name} is no LDAP filter: (objectClass=person)") from None


def _tls(context: ssl.SSLContext | None, host: str) -> Any:
    """TLS under the name that the settings say, over a connection to a checked address."""
    from ldap3 import Tls

    class Named(Tls):  # type: ignore[misc]
        def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
            assert context is not None
            connection.socket = context.wrap_socket(
                connection.socket, server_hostname=host, do_handshake_on_connect=do_handshake
            )

    return Named()


def _both(first: str, second: str) -> str:
    """Both filters at once; the first may be empty or without parentheses."""
    first = first.strip()
    if not first:
        return second
    return f"(&{first if first.startswith('(') else f'({first})'}{second})"


def _below(name: str, base: str) -> bool:
    return name == base or name.endswith(f",{base}")


def _named(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(DN, name) of groups; what is no DN is a group that nobody can name."""
    for name in names:
        try:
            yield dn.normal(name), dn.first_value(name)
        except Invalid:
            continue


def _key(attributes: Mapping[str, Sequence[bytes]]) -> str:
    for name in _KEYS:
        values = attributes.get(name)
        if values:
            text = values[0].decode("ascii", "replace")
            return f"{name}:{text if text.isprintable() and text.isascii() else values[0].hex()}"
    return ""


def _text(attributes: Mapping[str, Sequence[bytes]], name: str, wanted: str = "") -> str:
    """The first value of an attribute, or the one that is `wanted` but for the case of letters."""
    values = [value.decode(errors="replace") for value in attributes.get(name.lower(), ())]
    texts = [text for text in values if text.isprintable()]
    same = (text for text in texts if text.lower() == wanted.lower())
    return next(same, texts[0] if texts else "")


def _why(error: Exception) -> str:
    """In a few words; the library's own errors are many, and told apart by their text alone."""
    text = str(error).lower()
    return next((why for sign, why in _WHY.items() if sign in text), "it cannot be reached")
