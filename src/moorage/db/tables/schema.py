"""What all tables share: names of constraints, and columns that come again and again."""

from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData, String, text

from moorage.db.types import Timestamp, now

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = BigInteger().with_variant(Integer, "sqlite")


def ascii_text(length: int) -> String:
    """Text that sorts by its bytes on both databases, whatever PostgreSQL's locale is."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


Digest = ascii_text(135)  # "sha512:" and 128 hex digits
StorageKey = ascii_text(512)


def identifier() -> Column[int]:
    """The primary key of a row that has no name of its own."""
    return Column("id", Id, primary_key=True, autoincrement=True)


def created() -> Column[object]:
    """When the row was made."""
    return Column("created_at", Timestamp, nullable=False, server_default=now())


def updated() -> Column[object]:
    """When the row was changed last; whoever changes it sets this."""
    return Column("updated_at", Timestamp, nullable=False, server_default=now())


def where(condition: str) -> dict[str, Any]:
    """Arguments of a partial index, for both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def to(column: str, *, ondelete: str | None = None) -> ForeignKey:
    """A reference to `table.column`."""
    return ForeignKey(column, ondelete=ondelete)
