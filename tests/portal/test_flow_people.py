"""People in a browser: who administers whom, and what everybody does with an account of his own."""

import pytest
from tests.portal.flows import PASSWORD, SIGN_IN, Flow, fires
from tests.portal.test_flow_projects import secret
from tests.portal.visitor import Site

pytestmark = pytest.mark.slow

OTHER = "Aa1-other-password"


@fires(*(("/harbor/users", op) for op in ("create", "admin", "password", "token", "delete")))
def test_a_user_from_first_to_last(flow: Flow, full: Site) -> None:
    """Made, raised and lowered, given another password, his token ended, and deleted."""
    flow.go("/harbor/users")
    flow.follow("New user")
    about = {"username": "flow-user", "email": "flow@example.com", "realname": "Flora"}
    flow.refuse("create", "a password has 8 to 128 characters", **about, password="too weak")
    flow.submit("create", "Saved.", **about, password=PASSWORD)
    flow.go("/harbor/users?q=flow-user")
    flow.choose("flow-user", "Make an administrator", "Saved.")
    assert flow.page.url.endswith("/harbor/users?q=flow-user")
    flow.row("flow-user").get_by_text("Administrator", exact=True).wait_for()
    flow.choose("flow-user", "Take administration away", "Saved.")
    own = full.maker("flow-user", PASSWORD)
    own.api("POST", "/users/current/tokens", {"name": "of-flora", "duration": 3})
    flow.go("/harbor/users?q=flow-user")
    flow.choose("flow-user", "Set a password")
    flow.submit("password", "Saved.", password=OTHER)
    flow.go("/harbor/users?q=flow-user")
    flow.choose("flow-user", "Access tokens")
    flow.choose("of-flora", "End it", "Saved.")
    full.visitor("flow-user", OTHER)
    flow.go("/harbor/users?q=flow-user")
    flow.choose("flow-user", "Delete")
    flow.submit("delete", "Deleted.")
    flow.go("/harbor/users?q=flow-user")
    flow.shows("Nothing matches")


@fires(*(("/harbor/groups", op) for op in ("create", "rename", "delete")))
def test_a_group(flow: Flow) -> None:
    """Of a provider, before any of its members has come."""
    flow.go("/harbor/groups")
    flow.follow("New group")
    flow.submit("create", "Saved.", name="flow-group", kind="3")
    flow.choose("flow-group", "Rename")
    flow.submit("rename", "Saved.", name="flow-crew")
    flow.choose("flow-crew", "Delete")
    flow.shows("Its members lose the roles that they have by it.")
    flow.submit("delete", "Saved.")
    flow.gone("flow-crew")


@fires(("/account/tokens", "create"), ("/account/tokens", "end"))
def test_an_access_token(flow: Flow, full: Site) -> None:
    """Of one project; its secret is shown once, and pushes there alone; then it is ended."""
    flow.go("/account/tokens")
    flow.follow("New access token")
    flow.submit("create", name="flow-script", days="3", project="payments", push=True)
    shown = secret(flow)
    maker = full.maker(full.registry.username, shown)
    maker.image("payments/by-token", "1.0")
    with pytest.raises(AssertionError):
        maker.image("checkout/by-token", "1.0")
    flow.follow("Done")
    assert shown not in flow.page.content()
    flow.choose("flow-script", "End it", "The token is ended.")
    flow.gone("flow-script")


@fires(
    SIGN_IN,
    ("/account/sign-out", ""),
    ("/account/profile", "profile"),
    ("/account/profile", "password"),
    ("/account/language", ""),
)
def test_somebody_lives_with_his_account(flow: Flow, full: Site) -> None:
    """Signs in, says who he is, changes the language and his password, which ends his session;
    the old one is refused; he comes to the page that he wanted, and signs out."""
    full.maker().people(["flow-self"])
    own = flow.another("flow-self")
    own.go("/account/profile")
    own.submit("profile", "Saved.", realname="Flora of the quay")
    assert own.form("profile").locator("[name=realname]").input_value() == "Flora of the quay"
    own.press(own.page.locator('button[lang="ko"]'))
    assert own.page.locator("html").get_attribute("lang") == "ko"
    own.press(own.page.locator('button[lang="en"]'))
    own.refuse("password", "differ", old=PASSWORD, new=OTHER, again=PASSWORD)
    assert own.form("profile").locator("[name=realname]").input_value() == "Flora of the quay"
    own.submit("password", "The password is changed.", old=PASSWORD, new=OTHER, again=OTHER)
    own.go("/account/tokens")
    own.page.wait_for_url("**/account/sign-in?redirect_url=*")
    own.page.fill("#principal", "flow-self")
    own.page.fill("#password", PASSWORD)
    assert own.press(own.page.locator("main form.form button")) == 401
    own.page.get_by_role("alert").filter(has_text="Wrong name or password.").wait_for()
    own.page.fill("#password", OTHER)
    own.press(own.page.locator("main form.form button"))
    own.page.wait_for_url("**/account/tokens")
    own.page.locator("summary.avatar").click()
    own.press(own.page.get_by_role("button", name="Sign out"))
    own.page.get_by_role("heading", name="Sign in").wait_for()
    own.go("/account/profile")
    own.page.wait_for_url("**/account/sign-in?redirect_url=*")


@fires(("/account/sign-up", ""), SIGN_IN)
def test_somebody_makes_an_account(flow: Flow) -> None:
    """By the page that the sign-in leads to; what is wrong with it stands above what was typed."""
    somebody = flow.another()
    page = somebody.page
    somebody.go("/account/sign-in")
    somebody.follow("Make an account")
    about = {"username": "flow-new", "email": "new@example.com", "realname": "Noor"}
    for name, value in {**about, "password": PASSWORD, "again": OTHER}.items():
        page.fill(f"#{name}", value)
    button = page.locator("main form.form button")
    assert somebody.press(button) == 400
    page.get_by_role("alert").filter(has_text="The two passwords differ.").wait_for()
    assert page.locator("#username").input_value() == "flow-new"
    page.fill("#password", PASSWORD)
    page.fill("#again", PASSWORD)
    somebody.press(button)
    somebody.said("Your account is there. Sign in.")
    somebody.enter("flow-new", PASSWORD)
