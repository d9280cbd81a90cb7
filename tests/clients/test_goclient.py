"""The REST API with the Go client that is generated from Harbor's document."""

from pathlib import Path

from tests.support.clients import Crane, Home
from tests.support.images import image


def test_a_generated_client_understands_every_answer(home: Home, tmp_path: Path) -> None:
    """Types, names and statuses of 102 calls are those that it was generated for."""
    Crane().push(home, image(tmp_path / "image"), f"{home.registry}/library/a/b:v1")
    said = home.run("goclient", f"http://{home.registry}", home.username, home.password)
    assert said.strip() == "102 operations, 0 failed"
