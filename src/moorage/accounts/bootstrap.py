"""The first start: a secret key for a single process, and the first administrator."""

import contextlib
import os
import secrets
from pathlib import Path

from sqlalchemy import func, select

from moorage.access.principals import FIRST_START
from moorage.accounts.passwords import Passwords, check_password, new_secret
from moorage.accounts.users import insert
from moorage.db.engine import Database
from moorage.db.tables import properties, users
from moorage.db.transactions import Tx

FIRST_ADMIN = "first_admin"
"""The row of `properties` that only one replica can insert."""


def secret_key_file(path: Path) -> str:
    """The secret key in `path`, made when it is not there; readable by its owner only.

    Its folder is made as well: with PostgreSQL and blobs elsewhere nothing else may need one.
    Raises ValueError for a file that holds no key.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link fails when another process was first, and never shows half a file.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    key = path.read_text().strip()
    if len(key) < 16:
        raise ValueError(f"{path} holds no secret key; restore it from your backup")
    return key


async def first_admin(
    db: Database, passwords: Passwords, name: str, password: str | None = None
) -> str | None:
    """Make the first administrator, unless there are users. Returns a password that was made here.

    The caller prints it once; None means that there is nothing to tell. Of several replicas that
    start together one makes the account. Raises Invalid for a password that breaks the rule.
    """
    async with db.read() as tx:
        if await _users(tx):
            return None
    chosen = check_password(password) if password else new_secret()
    hashed = await passwords.hash(chosen)

    async def step(tx: Tx) -> bool:
        first = await tx.execute(
            tx.dialect.insert(properties)
            .values(name=FIRST_ADMIN, value=name)
            .on_conflict_do_nothing()
            .returning(properties.c.name)
        )
        if first.scalar_one_or_none() is None or await _users(tx):
            return False
        await insert(
            tx,
            FIRST_START,
            {
                "username": name,
                "password_hash": hashed,
                "sysadmin": True,
                "realname": "system admin",
                "comment": "admin user",
            },
        )
        return True

    made = await db.run(step)
    return chosen if made and not password else None


async def _users(tx: Tx) -> int:
    return int((await tx.execute(select(func.count()).select_from(users))).scalar_one())
