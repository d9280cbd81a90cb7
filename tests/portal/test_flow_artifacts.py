"""Artifacts in a browser: tagged, labelled, copied, compared, described, deleted and restored."""

import re

import pytest
from tests.portal.flows import ARTIFACT, ARTIFACTS, PROJECT, REPOSITORY, Flow, fires
from tests.portal.visitor import Site

pytestmark = pytest.mark.slow


def repository(flow: Flow, name: str, *tags: str) -> str:
    """A repository of payments with these tags; the path of its artifacts."""
    maker = flow.site.maker()
    for tag in tags:
        maker.image(f"payments/{name}", tag)
    project = flow.site.project("payments")
    return f"/harbor/projects/{project}/repositories/{name}/artifacts-tab"


@fires((ARTIFACT, "tag"), (ARTIFACT, "untag"))
def test_a_tag_comes_and_goes(flow: Flow) -> None:
    """On the page of an artifact, from where its tags lead to their own pages."""
    base = repository(flow, "flow-tags", "1.0.0")
    flow.go(f"{base}/artifacts/1.0.0")
    flow.follow("Add a tag")
    flow.refuse("tag", "a tag is up to 128 letters", name="no tag at all")
    flow.submit("tag", "The tag is added.", name="stable")
    flow.follow("stable")
    flow.page.get_by_role("heading", name="stable").wait_for()
    flow.go(f"{base}/artifacts/1.0.0?tab=tags")
    flow.press(flow.page.get_by_role("button", name="Remove the tag stable"))
    flow.said("The tag is removed.")
    flow.gone("stable")


@fires((ARTIFACT, "label"), (ARTIFACT, "unlabel"))
def test_an_artifact_is_labelled(flow: Flow) -> None:
    """A label is chosen from those of the project and of everybody, and taken off by its cross."""
    base = repository(flow, "flow-labels", "1.0.0")
    flow.go(f"{base}/artifacts/1.0.0")
    labels = flow.page.get_by_role("combobox", name="Label")
    labels.select_option("staging")
    flow.press(flow.page.get_by_role("button", name="Add", exact=True))
    off = flow.page.get_by_role("button", name="Take the label staging off")
    off.wait_for()
    flow.press(off)
    off.wait_for(state="detached")


@fires((ARTIFACT, "copy"), (ARTIFACT, "delete"))
def test_an_artifact_is_copied_and_deleted(flow: Flow, full: Site) -> None:
    """The copy is where the form says; deleting says what goes along."""
    base = repository(flow, "flow-one", "1.0.0")
    flow.go(f"{base}/artifacts/1.0.0")
    flow.follow("Copy to…")
    flow.refuse("copy", "project not found", project="no-such-project", repository="x")
    flow.completes("copy", "project", "check", "checkout")
    flow.completes("copy", "repository", "ap", "api")
    flow.submit("copy", "Copied to checkout/flow-copy.", project="checkout", repository="flow-copy")
    checkout = full.project("checkout")
    flow.go(f"/harbor/projects/{checkout}/repositories/flow-copy/artifacts-tab")
    flow.row("1.0.0").wait_for()
    flow.go(f"{base}/artifacts/1.0.0")
    flow.follow("Delete")
    flow.page.locator("ul.names").get_by_text("payments/flow-one:1.0.0").wait_for()
    flow.submit("delete", "The artifact is deleted.")
    flow.shows("No tags here")


@fires()
def test_a_list_is_narrowed_as_it_stands(flow: Flow) -> None:
    """As it was sorted in place just now; a link leads to the other view, with its own buttons."""
    base = repository(flow, "flow-stands", "1.0.0", "1.1.0", "2.0.0")
    flow.go(f"{base}?size=50")
    flow.page.get_by_role("link", name="Pushed").click()
    flow.page.wait_for_url(re.compile("sort=push_time"))
    flow.page.locator("main [data-slash]").fill("1.")
    flow.page.wait_for_url(re.compile(r"q=1\."))
    flow.gone("2.0.0")
    assert "sort=push_time" in flow.page.url
    assert "size=50" in flow.page.url
    flow.pick("1.0.0")
    remove = flow.page.get_by_role("button", name="Remove tags")
    remove.wait_for()
    flow.follow("By artifact")
    flow.gone("2.0.0")
    flow.page.get_by_role("checkbox", name="Choose all rows on this page").check()
    flow.page.get_by_role("button", name="Delete artifacts").wait_for()
    assert remove.count() == 0


@fires((ARTIFACTS, "label"), (ARTIFACTS, "unlabel"))
def test_many_are_labelled(flow: Flow) -> None:
    """Each with a line of its own; the list of artifacts narrows to the label, which comes off."""
    base = repository(flow, "flow-many", "1.0.0", "1.1.0", "1.2.0")
    flow.go(base)
    flow.pick("1.0.0", "1.2.0")
    flow.shows("2 chosen")
    flow.bulk("Labels")
    form = flow.fill("label")
    form.locator("[name=label]").select_option("production")
    flow.submit("label")
    flow.shows("2 done.")
    flow.follow("Back to the list")
    flow.row("1.2.0").get_by_text("production").wait_for()
    flow.go(f"{base}?view=artifacts")
    flow.page.get_by_role("combobox", name="Label").select_option("production")
    flow.page.wait_for_url(re.compile("label="))
    flow.gone("1.1.0")
    flow.page.get_by_role("checkbox", name="Choose all rows on this page").check()
    flow.bulk("Labels")
    flow.fill("unlabel").locator("[name=label]").select_option("production")
    flow.submit("unlabel")
    flow.shows("2 done.")
    flow.follow("Back to the list")
    flow.page.wait_for_url(re.compile("label=.*view=artifacts"))
    flow.go(base)
    assert flow.row("1.2.0").get_by_text("production").count() == 0


@fires((ARTIFACTS, "copy"), (ARTIFACTS, "untag"), (ARTIFACTS, "delete"))
def test_many_are_copied_untagged_and_deleted(flow: Flow) -> None:
    """One answers at once, several on a page of their own; what failed can be tried again."""
    base = repository(flow, "flow-bulk", "1.0.0", "1.1.0", "1.2.0", "1.3.0")
    flow.go(base)
    flow.pick("1.0.0", "1.1.0")
    flow.bulk("Copy to…")
    flow.submit("copy", project="no-such-project", repository="copies")
    flow.shows("2 failed.")
    flow.follow("Try again what failed")
    flow.submit("copy", project="checkout", repository="flow-copies")
    flow.shows("2 done.")
    flow.follow("Back to the list")
    flow.pick("1.0.0")
    flow.bulk("Remove tags")
    flow.shows("The artifacts stay, and can still be pulled by digest.")
    flow.submit("untag", "The tag is removed.")
    flow.gone("1.0.0")
    flow.pick("1.1.0", "1.2.0")
    flow.bulk("Delete artifacts")
    flow.submit("delete")
    flow.shows("2 done.")
    flow.follow("Back to the list")
    flow.row("1.3.0").wait_for()
    flow.gone("1.1.0")


@fires((f"{PROJECT}/trash", "restore"))
def test_what_was_deleted_comes_back(flow: Flow, full: Site) -> None:
    """From the trash, with its tags."""
    base = repository(flow, "flow-trash", "2.7.1")
    full.maker().api("DELETE", "/projects/payments/repositories/flow-trash/artifacts/2.7.1")
    flow.go(base)
    flow.shows("No tags here")
    flow.go(f"{base.partition('/repositories')[0]}/trash")
    line = flow.row("payments/flow-trash")
    line.locator("summary").click()
    flow.press(line.get_by_role("button", name="Restore"))
    flow.said("Restored: 2.7.1")
    flow.go(base)
    flow.row("2.7.1").wait_for()


@fires((f"{REPOSITORY}/info-tab", "describe"))
def test_a_repository_is_described(flow: Flow) -> None:
    """In Markdown, which is shown as what it means."""
    base = repository(flow, "flow-described", "1.0.0")
    flow.go(base)
    flow.follow("Description")
    flow.shows("Nobody has described this repository yet.")
    flow.follow("Edit")
    flow.submit("describe", "Saved.", description="# The queue\n\nTakes *orders* in.")
    flow.page.get_by_role("heading", name="The queue").wait_for()
    flow.page.locator(".prose em").get_by_text("orders").wait_for()


@fires()
def test_a_thousand_tags_are_found_turned_and_compared(flow: Flow, full: Site) -> None:
    """The largest repository: by version, by pages of a hundred, by a part of a name; two of its
    tags differ in layers and environment; an index opens."""
    page, project = flow.page, full.project("checkout")
    flow.go(f"/harbor/projects/{project}/repositories/api/artifacts-tab")
    page.get_by_role("combobox", name="Rows").select_option("100")
    page.wait_for_url(re.compile("size=100"))
    page.locator("tr[data-row]").nth(99).wait_for()
    page.get_by_role("link", name="Next page").click()
    page.wait_for_url(re.compile("page=2"))
    page.get_by_text(re.compile("^101.200 of 1,[0-9]{3}$")).wait_for()
    flow.page.get_by_placeholder("Filter by tag").fill("101.")
    page.wait_for_url(re.compile(r"q=101\."))
    page.get_by_text(re.compile("^1.([0-9]+) of \\1$")).wait_for()
    tags = page.locator("tr[data-row] a.tag").all_inner_texts()
    assert tags
    assert all("101." in tag for tag in tags)
    page.locator("[data-twist]").first.click()
    page.locator("tr.child:visible").nth(1).wait_for()
    flow.pick(tags[1], tags[2])
    flow.bulk("Compare")
    page.wait_for_url("**/compare?a=*")
    page.get_by_role("heading", name="Environment").wait_for()
    page.get_by_text("APP_VERSION").wait_for()
    page.get_by_label("From").fill("1.1.0")  # of a thousand, none is out of reach
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url(re.compile(r"a=1\.1\.0"))
    page.get_by_role("region", name="Figures").get_by_text("1.1.0").wait_for()
    page.go_back()
    page.go_back()
    page.wait_for_url(re.compile(r"q=101\."))
    page.get_by_role("heading", name="api").wait_for()
