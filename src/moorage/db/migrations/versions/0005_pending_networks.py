"""Where a sign-in was begun, so that one network cannot begin any number."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("pending_sign_ins", sa.Column("network", sa.String(64), nullable=True))
    op.create_index(op.f("ix_pending_sign_ins_network"), "pending_sign_ins", ["network"])
