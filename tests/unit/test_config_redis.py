"""Redis URLs: what is understood, what is refused, and that secrets stay secret."""

import pytest
from pydantic import ValidationError

from moorage.config.redis import RedisAddress, RedisSettings, parse_redis_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache", RedisAddress((("cache", 6379),))),
        ("redis://:p%40ss@cache:7000/2", RedisAddress((("cache", 7000),), db=2, password="p@ss")),
        ("redis://cache?db=4", RedisAddress((("cache", 6379),), db=4)),
        ("redis://[::1]:7000", RedisAddress((("::1", 7000),))),
        (
            "rediss://me:secret@cache",
            RedisAddress((("cache", 6379),), tls=True, username="me", password="secret"),
        ),
        ("unix:///run/redis.sock?db=1", RedisAddress(path="/run/redis.sock", db=1)),
        (
            "redis+sentinel://:s@a,b:7000/main/1?idle_timeout_seconds=30",
            RedisAddress((("a", 26379), ("b", 7000)), service="main", db=1, password="s"),
        ),
        ("redis://a,b:7000", RedisAddress((("a", 6379), ("b", 7000)))),
        (
            "rediss+sentinel://a/main",
            RedisAddress((("a", 26379),), service="main", tls=True),
        ),
    ],
)
def test_urls(url: str, address: RedisAddress) -> None:
    """Each form names its server."""
    parsed = parse_redis_url(url)
    assert {name: getattr(parsed, name) for name in RedisAddress.__dataclass_fields__} == {
        name: getattr(address, name) for name in RedisAddress.__dataclass_fields__
    }


@pytest.mark.parametrize(
    "url",
    [
        "http://:hidden@cache",
        "redis://:hidden@",
        "redis://:hidden@cache/x",
        "redis://:hidden@cache/1/2",
        "redis://:hidden@a,b/1",
        "redis://:hidden@cache:port",
        "redis://:hidden@cache?max_connections=5",
        "redis+sentinel://:hidden@a",
        "unix://",
    ],
)
def test_bad_urls_are_refused_without_their_secrets(url: str) -> None:
    """A URL that is not understood stops the start; its password is not in the message."""
    with pytest.raises(ValidationError) as caught:
        RedisSettings.model_validate({"url": url})
    assert "hidden" not in str(caught.value)


def test_separate_secrets_go_before_the_url() -> None:
    """A password from a file of its own wins; nothing prints it."""
    settings = RedisSettings.model_validate(
        {"url": "redis://me:old@cache/1", "password": "fresh", "username": "you"}
    )
    address = settings.address()
    assert (address.username, address.password, address.db) == ("you", "fresh", 1)
    assert "fresh" not in repr(settings) + repr(address)
    assert "old" not in repr(settings)
