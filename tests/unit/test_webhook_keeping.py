"""Which secrets a target keeps when its policy is saved without them."""

import pytest

from moorage.errors import Invalid
from moorage.webhooks.keeping import kept
from moorage.webhooks.records import Target

HERE, THERE = "https://here.example/hook", "https://there.example/hook"


def to(
    address: str = HERE,
    header: str | None = None,
    secret: str | None = None,
    *,
    open_: bool = False,
    shape: str = "Default",
) -> Target:
    return Target("http", address, shape, open_, header, secret)


def test_what_is_saved_as_it_is_shown_keeps_its_secrets() -> None:
    """Clients of Harbor send a policy back as they read it, to rename or to disable it."""
    before = [to(HERE, "a", "1"), to(THERE, "b", "2"), to(THERE, "c", "3", open_=True)]
    shown = [to(HERE), to(THERE), to(THERE, open_=True)]
    assert kept(shown, before) == [("a", "1"), ("b", "2"), ("c", "3")]
    assert kept(shown[::-1], before) == [("c", "3"), ("b", "2"), ("a", "1")]


def test_targets_with_the_same_address_have_secrets_of_their_own() -> None:
    before = [to(HERE, "a", "1"), to(HERE, "b", "2"), to(HERE, "c", "3", shape="CloudEvents")]
    shown = [to(HERE), to(HERE), to(HERE, shape="CloudEvents")]
    assert kept(shown, before) == [("a", "1"), ("b", "2"), ("c", "3")]
    assert kept([*shown, to(HERE)], before)[3] == ("", "")
    changed = [to(HERE), to(HERE, "new"), to(HERE, shape="CloudEvents")]
    assert kept(changed, before) == [("a", "1"), ("new", "2"), ("c", "3")]


def test_when_some_of_them_go_nobody_guesses_whose_secrets_stay() -> None:
    before = [to(HERE, "a"), to(HERE, "b"), to(THERE, "c")]
    with pytest.raises(Invalid, match=f"auth_header: there were several targets at {HERE}"):
        kept([to(HERE), to(THERE)], before)
    assert kept([to(HERE, "b"), to(THERE)], before) == [("b", ""), ("c", "")]
    assert kept([to(THERE)], before) == [("c", "")]
    twins = [to(HERE, "a", "1"), to(HERE, "a", "1")]
    assert kept([to(HERE)], twins) == [("a", "1")]


def test_another_address_gets_nothing_and_what_is_emptied_is_gone() -> None:
    before = [to(HERE, "a", "1")]
    assert kept([to(THERE)], before) == [("", "")]
    assert kept([to(HERE, "", None)], before) == [("", "1")]


@pytest.mark.parametrize("name", ["auth_header", "secret"])
def test_to_verify_no_longer_needs_the_secret_again(name: str) -> None:
    """Else whoever may change the policy could let a server of his own answer for the right one."""
    position = ("auth_header", "secret").index(name)
    secrets: list[str | None] = [None, None]
    secrets[position] = "canary"
    before = [to(HERE, *secrets)]
    with pytest.raises(Invalid, match=f"{name} was given for a server whose") as refused:
        kept([to(HERE, open_=True)], before)
    assert "canary" not in refused.value.message
    assert kept([to(HERE, *secrets, open_=True)], before)[0][position] == "canary"
    emptied = [None if each is None else "" for each in secrets]
    assert kept([to(HERE, *emptied, open_=True)], before) == [("", "")]
    opened = [to(HERE, *secrets, open_=True)]
    assert kept([to(HERE, open_=True)], opened)[0][position] == "canary"
    assert kept([to(HERE)], opened)[0][position] == "canary"
    assert kept([to(HERE, open_=True)], [to(HERE)]) == [("", "")]
