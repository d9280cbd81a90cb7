"""Projects in a browser: made, filled with people, labels and rules of use, and taken away."""

import re

import pytest
from tests.portal.flows import PROJECT, SIGN_IN, Flow, fires
from tests.portal.visitor import Site

pytestmark = pytest.mark.slow


def payments(flow: Flow) -> str:
    """The path of a project in which there is much."""
    return f"/harbor/projects/{flow.site.project('payments')}"


@fires(("/harbor/projects", "create"), (f"{PROJECT}/configs", "save"))
def test_a_project_is_made_and_opened_to_all(flow: Flow) -> None:
    """A name that is none is refused with the form as it was; the settings make it public."""
    flow.go("/harbor/projects")
    flow.follow("New project")
    flow.refuse("create", "a project name is 1 to 255 lower-case letters", name="Not A Name")
    flow.submit("create", name="flow-made", limit="3")
    flow.page.get_by_role("heading", name="Push to this project").wait_for()
    flow.follow("Summary")
    flow.page.get_by_role("region", name="Figures").get_by_text("of 3").wait_for()
    flow.follow("Settings")
    flow.submit("save", "Saved.", public=True)
    flow.page.get_by_role("heading", name="flow-made").get_by_text("Public").wait_for()


@fires((f"{PROJECT}/configs", "delete"))
def test_a_project_goes_by_its_name(flow: Flow) -> None:
    """Who deletes it types its name; another one is refused, and its settings stay as they are."""
    path = flow.project("flow-gone", public="true")
    flow.go(f"{path}/configs")
    flow.refuse("delete", "That is not the name of this project.", name="payments")
    assert flow.form("save").locator("[name=public]").is_checked()
    flow.submit("delete", "flow-gone is deleted.", name="flow-gone")
    flow.go("/harbor/projects?q=flow-gone")
    flow.shows("Nothing matches")


@fires(("/harbor/projects", "create-cache"), (f"{PROJECT}/configs", "save"))
def test_a_proxy_cache_is_made_and_bounded(flow: Flow) -> None:
    """Of a registry that is known, with bounds that its settings change."""
    flow.go("/harbor/projects")
    flow.follow("New proxy cache")
    other = str(flow.site.elsewhere["registry"])
    flow.submit("create-cache", name="flow-cache", registry=other, filter="payments/**", speed="9")
    flow.page.get_by_role("heading", name="Pull through this cache").wait_for()
    flow.follow("Settings")
    flow.submit("save", "Saved.", speed="", connections="4", local=True)
    form = flow.form("save")
    assert form.locator("[name=speed]").input_value() == ""
    assert form.locator("[name=connections]").input_value() == "4"
    assert form.locator("[name=filter]").input_value() == "payments/**"


@fires(
    (f"{PROJECT}/members", "add"), (f"{PROJECT}/members", "role"), (f"{PROJECT}/members", "remove")
)
def test_members_come_rise_and_go(flow: Flow, full: Site) -> None:
    """By name; and one of the second page of many is changed as well as one of the first."""
    maker, base = full.maker(), payments(flow)
    maker.people(["flow-member"])
    flow.go(f"{base}/members")
    flow.follow("Add a member")
    flow.refuse("add", "user not found", name="nobody-of-this-name")
    flow.completes("add", "name", "flow-mem", "flow-member")
    flow.submit("add", "flow-member is a member now.", name="flow-member", role="5")
    flow.go(f"{base}/members?q=flow-member")
    flow.choose("flow-member", "Change the role")
    flow.submit("role", "Saved.", role="4")
    flow.go(f"{base}/members?q=flow-member")
    flow.row("flow-member").get_by_text("Maintainer").wait_for()
    flow.go(f"{base}/members")
    flow.page.get_by_role("link", name="Next page").click()
    flow.page.wait_for_url(re.compile("page=2"))
    name = flow.page.locator("tr[data-row] td").first.inner_text()
    flow.choose(name, "Remove")
    flow.page.locator("ul.names").get_by_text(name, exact=True).wait_for()
    flow.submit("remove", "Removed.")
    flow.go(f"{base}/members?q={name}")
    flow.gone(name)


@fires(
    *((f"{PROJECT}/labels", op) for op in ("create", "edit", "delete")),
    *(("/harbor/labels", op) for op in ("create", "edit", "delete")),
)
def test_labels_of_a_project_and_of_everybody(flow: Flow) -> None:
    """Made with a colour, renamed, deleted after a question."""
    for base in (f"{payments(flow)}/labels", "/harbor/labels"):
        flow.go(base)
        flow.follow("New label")
        flow.submit("create", "Saved.", name="flow-label", description="one", color="#C92100")
        flow.row("flow-label").get_by_text("#C92100").wait_for()
        flow.choose("flow-label", "Edit")
        flow.submit("edit", "Saved.", name="flow-renamed", description="two")
        flow.row("flow-renamed").get_by_text("two").wait_for()
        flow.choose("flow-renamed", "Delete")
        flow.shows("It is taken off every artifact that carries it.")
        flow.submit("delete", "Deleted.")
        flow.gone("flow-renamed")


@fires(
    *((f"{PROJECT}/robot-account", op) for op in ("create", "edit", "switch", "secret", "delete")),
)
def test_a_robot_of_a_project(flow: Flow, full: Site) -> None:
    """Its secret is shown once and works; another one takes its place; switched off, deleted."""
    flow.go(f"{payments(flow)}/robot-account")
    flow.follow("New robot account")
    flow.page.get_by_role("checkbox", name="tag list", exact=True).check()
    flow.submit("create", name="flow", description="builds", duration="7")
    first = secret(flow)
    name = flow.page.locator(".once code").first.inner_text()
    full.maker(name, first).image("payments/by-robot", "1.0")
    flow.follow("Done")
    flow.row(name).get_by_text("3 rights").wait_for()
    flow.choose(name, "Edit")
    flow.page.get_by_role("checkbox", name="tag list", exact=True).uncheck()
    flow.submit("edit", "Saved.", description="nightly builds")
    flow.row(name).get_by_text("2 rights").wait_for()
    flow.choose(name, "New secret")
    flow.submit("secret")
    assert secret(flow) != first
    flow.follow("Done")
    flow.choose(name, "Disable", "Saved.")
    flow.row(name).get_by_text("Disabled").wait_for()
    flow.choose(name, "Delete")
    flow.submit("delete", "Deleted.")
    flow.gone(name)


@fires(
    *(("/harbor/robot-accounts", op) for op in ("create", "edit", "switch", "secret", "delete")),
)
def test_a_robot_of_the_system(flow: Flow) -> None:
    """The same beyond one project, with rights in the system."""
    flow.go("/harbor/robot-accounts")
    flow.follow("New robot account")
    flow.page.get_by_role("group", name="Rights in the system").get_by_role(
        "checkbox", name="user list", exact=True
    ).check()
    flow.submit("create", name="flow-all", projects="payments\ncheckout", duration="-1")
    kept = secret(flow)
    name = flow.page.locator(".once code").first.inner_text()
    flow.follow("Done")
    flow.row(name).get_by_text("payments, checkout, /").wait_for()
    flow.choose(name, "New secret")
    flow.submit("secret")
    assert secret(flow) != kept
    flow.follow("Done")
    flow.choose(name, "Edit")
    flow.submit("edit", "Saved.", projects="payments")
    flow.row(name).get_by_text("payments, /").wait_for()
    flow.choose(name, "Disable", "Saved.")
    flow.choose(name, "Delete")
    flow.submit("delete", "Deleted.")
    flow.gone(name)


def secret(flow: Flow) -> str:
    """What is shown this once."""
    flow.page.get_by_role("heading", name="Keep this secret now").wait_for()
    return str(flow.page.locator("[data-secret]").inner_text())


@fires((f"{PROJECT}/repositories", "delete"))
def test_repositories_go_one_and_many(flow: Flow, full: Site) -> None:
    """One by its box; several with a line for each of what came of it."""
    path, maker = flow.project("flow-repositories"), full.maker()
    for name in ("one", "two", "deep/three"):
        maker.image(f"flow-repositories/{name}", "1.0")
    flow.go(f"{path}/repositories")
    flow.pick("one")
    flow.bulk("Delete")
    flow.submit("delete", "The repository is deleted.")
    flow.gone("one")
    flow.page.get_by_role("checkbox", name="Choose all rows on this page").check()
    flow.bulk("Delete")
    flow.submit("delete")
    flow.shows("2 done.")
    flow.follow("Back to the list")
    flow.shows("Nothing was pushed yet")


@fires(("/harbor/project-quotas", "edit"), ("/harbor/project-quotas", "default"))
def test_quotas(flow: Flow) -> None:
    """One project gets a limit, and what new ones get changes."""
    flow.go("/harbor/project-quotas?size=50")
    flow.choose("payments", "Change")
    flow.submit("edit", "Saved.", limit="900")
    flow.row("payments").get_by_text("900.0 GiB").wait_for()
    flow.follow("Default quota")
    flow.submit("default", "Saved.", limit="70")
    flow.page.get_by_role("region", name="Figures").get_by_text("70.0 GiB").wait_for()
    flow.follow("Default quota")
    flow.submit("default", "Saved.", limit="-1")
    flow.page.get_by_role("region", name="Figures").get_by_text("no limit").wait_for()


@fires(SIGN_IN)
def test_what_a_guest_sees(flow: Flow) -> None:
    """He reads who is a member, with neither a button nor a menu for what he may not do; the log of
    the project is not for him, and the audit log tells him nothing."""
    li = flow.another("li")
    li.go(f"{payments(flow)}/members")
    li.page.locator("tr[data-row]").first.wait_for()
    assert li.page.get_by_role("link", name="Add a member").count() == 0
    assert li.page.locator("details.menu .danger").count() == 0
    assert li.page.locator(f'a[href="{payments(flow)}/logs"]').count() == 0
    li.go("/harbor/logs")
    li.shows("Nothing happened yet")
