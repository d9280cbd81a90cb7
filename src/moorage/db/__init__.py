"""The database: tables, transactions and migrations on SQLite and PostgreSQL."""

from moorage.db.connecting import connect, open_sqlite
from moorage.db.engine import Database
from moorage.db.transactions import Tx

__all__ = ["Database", "Tx", "connect", "open_sqlite"]
