"""A real slapd of one's own: on free ports, in a temporary folder, gone afterwards."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import Authority
from tests.support.requirements import path_of, require
from tools.ports import free_port

BASE = "dc=example,dc=com"
ADMIN_DN = f"cn=root,{BASE}"
ADMIN_PASSWORD = "directory-root"
PEOPLE = f"ou=people,{BASE}"
GROUPS = f"ou=groups,{BASE}"

_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {folder}/slapd.pid
TLSCACertificateFile {authority}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
database mdb
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {folder}/data
overlay memberof
memberof-refint TRUE
access to attrs=userPassword by anonymous auth by * none
access to * by users read by anonymous none
"""


class LdapServer:
    """One slapd process with people and groups."""

    def __init__(self, folder: Path) -> None:
        require("slapd")
        self._folder = folder
        (folder / "data").mkdir(parents=True)
        self.authority = Authority(folder)
        certificate, key = self.authority.issue("127.0.0.1")
        config = folder / "slapd.conf"
        config.write_text(
            _CONFIG.format(
                folder=folder,
                base=BASE,
                admin=ADMIN_DN,
                password=ADMIN_PASSWORD,
                authority=self.authority.path,
                certificate=certificate,
                key=key,
            )
        )
        self.port, self.tls_port = free_port(), free_port()
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        command = [path_of("slapd"), "-d", "0", "-f", str(config), "-h", urls]
        with (folder / "slapd.log").open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        self._wait()
        self.add(BASE, ["dcObject", "organization"], {"o": "Example", "dc": "example"})
        self.add(PEOPLE, ["organizationalUnit"], {"ou": "people"})
        self.add(GROUPS, ["organizationalUnit"], {"ou": "groups"})

    @property
    def url(self) -> str:
        """Where it listens without TLS."""
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """Where it listens with TLS."""
        return f"ldaps://127.0.0.1:{self.tls_port}"

    def add(self, dn: str, classes: Sequence[str], attributes: Mapping[str, Any]) -> str:
        """Add an entry; returns its DN."""
        with self._root() as root:
            assert root.add(dn, list(classes), dict(attributes)), root.result
        return dn

    def person(
        self, uid: str, password: str, *, rdn: str = "", names: Sequence[str] = (), mail: str = ""
    ) -> str:
        """Add somebody, who may have several names; returns the DN."""
        from ldap3.utils.dn import escape_rdn

        dn = f"uid={rdn or escape_rdn(uid)},{PEOPLE}"
        values = {"cn": uid, "sn": uid, "uid": [uid, *names], "userPassword": password}
        if mail:
            values["mail"] = mail
        return self.add(dn, ["inetOrgPerson"], values)

    def group(self, name: str, *members: str) -> str:
        """Add a group of people; returns its DN."""
        from ldap3.utils.dn import escape_rdn

        dn = f"cn={escape_rdn(name)},{GROUPS}"
        return self.add(dn, ["groupOfNames"], {"cn": name, "member": list(members)})

    def change(self, dn: str, attribute: str, values: Sequence[str]) -> None:
        """Replace an attribute."""
        from ldap3 import MODIFY_REPLACE

        with self._root() as root:
            assert root.modify(dn, {attribute: [(MODIFY_REPLACE, list(values))]}), root.result

    def rename(self, dn: str, rdn: str) -> None:
        """Give an entry another name."""
        with self._root() as root:
            assert root.modify_dn(dn, rdn), root.result

    def delete(self, dn: str) -> None:
        """Delete an entry."""
        with self._root() as root:
            assert root.delete(dn), root.result

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)

    @contextlib.contextmanager
    def _root(self) -> Iterator[Any]:
        import ldap3

        server = ldap3.Server("127.0.0.1", self.port, get_info=ldap3.NONE)
        with ldap3.Connection(server, ADMIN_DN, ADMIN_PASSWORD, check_names=False) as root:
            yield root

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError((self._folder / "slapd.log").read_text()) from None
                time.sleep(0.05)
            else:
                return


@pytest.fixture
def ldap_server(tmp_path: Path) -> Iterator[LdapServer]:
    """An empty directory."""
    server = LdapServer(tmp_path / "ldap")
    yield server
    server.stop()
