"""Questions to the directory, from the event loop.

The library blocks, so each question runs in one of a few threads of its own. A server that is slow
fills those, and nothing else: who comes when too many wait is told to try again.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from typing import TypeVar

from moorage.accounts.ldap.directory import Directory
from moorage.accounts.ldap.settings import LdapSettings, Person
from moorage.errors import Unreachable
from moorage.outgoing import Guard

THREADS = 8
WAITING = 64
"""Questions that may wait for a thread."""

T = TypeVar("T")


class Ldap:
    """Asks the directory; raises Unreachable, AddressRefused, Invalid, Unsupported."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._asked = 0

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(THREADS, thread_name_prefix="ldap")

    async def authenticate(
        self, settings: LdapSettings, username: str, password: str
    ) -> Person | None:
        """The one person of that name, with groups, when the password is right."""

        def work(directory: Directory) -> Person | None:
            found = directory.people(username, most=2)
            if len(found) != 1:
                # Nobody's password: who is unknown takes as long as who is known.
                with suppress(Unreachable):
                    directory.accepts(settings.base_dn, password)
                return None
            if not directory.accepts(found[0].dn, password):
                return None
            return directory.with_groups(found[0])

        return await self._ask(settings, work)

    async def person(self, settings: LdapSettings, username: str) -> Person | None:
        """The one person of that name, with groups."""

        def work(directory: Directory) -> Person | None:
            found = directory.people(username, most=2)
            return directory.with_groups(found[0]) if len(found) == 1 else None

        return await self._ask(settings, work)

    async def people(self, settings: LdapSettings, username: str) -> list[Person]:
        """People of that name, or all; a thousand at most."""
        return await self._ask(settings, lambda directory: directory.people(username))

    async def groups(self, settings: LdapSettings, name: str, dn: str) -> dict[str, str]:
        """Groups by DN or by part of the name: DN → name."""
        return await self._ask(settings, lambda directory: directory.groups(name, dn))

    async def ping(self, settings: LdapSettings) -> None:
        """Connect and search as a sign-in would."""
        await self._ask(settings, lambda directory: directory.people("nobody", most=1))

    async def _ask(self, settings: LdapSettings, work: Callable[[Directory], T]) -> T:
        found = await self._guard.addresses(settings.host, settings.port)
        addresses = list(dict.fromkeys(str(address[0]) for _, address in found))
        context = self._guard.tls(verify=settings.verify) if settings.tls else None

        def ask() -> T:
            with Directory(settings, addresses, context) as directory:
                return work(directory)

        if self._asked >= THREADS + WAITING:
            raise Unreachable("the LDAP server is too slow; try again")
        self._asked += 1
        asked = asyncio.get_running_loop().run_in_executor(self._threads, ask)
        # Who waits may go away; the thread is free only when its question was answered.
        asked.add_done_callback(self._answered)
        return await asyncio.shield(asked)

    def _answered(self, asked: "asyncio.Future[T]") -> None:
        self._asked -= 1
        if not asked.cancelled():
            asked.exception()  # read, in case that whoever asked is gone
