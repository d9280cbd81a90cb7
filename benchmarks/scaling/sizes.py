"""What a row costs in PostgreSQL, its indexes included: measured over a filled database."""

import asyncio
import sys
import tempfile
from pathlib import Path

from tools.ha.postgres import DATABASE, Server

from benchmarks.garbage.rows import fill, opened

TABLES = (
    "blobs",
    "repository_blobs",
    "project_content",
    "manifest_blobs",
    "manifests",
    "gc_candidates",
)

_SIZE = "SELECT pg_total_relation_size('{0}')::float / count(*) FROM {0}"


def bytes_per_row(blobs: int) -> dict[str, float]:
    """By table; `blobs` is a multiple of 1,000."""
    with tempfile.TemporaryDirectory(prefix="moorage-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL runs as another user where root starts it
        server = Server("postgresql", folder / "postgresql", durable=False)
        server.initialise()
        server.start()
        try:
            server.sql(f"CREATE DATABASE {DATABASE}")
            url = f"postgresql://postgres@127.0.0.1:{server.port}/{DATABASE}"
            asyncio.run(_fill(url, folder, blobs))
            return {table: float(server.sql(_SIZE.format(table), DATABASE)) for table in TABLES}
        finally:
            server.stop()


async def _fill(url: str, folder: Path, blobs: int) -> None:
    async with opened(url, folder) as db:
        await fill(db, blobs)


if __name__ == "__main__":
    print(bytes_per_row(int(sys.argv[1])))
