"""What keeps the installation going, in a browser: clean-up, jobs, schedules, settings, the log."""

import re

import pytest
from tests.portal.flows import JOBS, Flow, fires
from tests.portal.test_flow_rules import hold, release
from tests.support.ldap_server import ADMIN_DN, ADMIN_PASSWORD, BASE, LdapServer
from tests.support.oidc_server import RealProvider

pytestmark = pytest.mark.slow

GC, PURGE = "/harbor/clearing-job/gc", "/harbor/clearing-job/audit-log-purge"
LDAP, OIDC = "/harbor/configs/ldap", "/harbor/configs/oidc"
QUEUES = f"{JOBS}/pending-jobs"


@fires((GC, "run"), (GC, "schedule"), (GC, "stop"), (QUEUES, "pause"), (QUEUES, "resume"))
def test_garbage_is_collected(flow: Flow) -> None:
    """Now, followed with its log; by schedule; and one that waits is stopped."""
    clean_up(flow, GC, "Collect now", "GARBAGE_COLLECTION", "would go")


@fires((PURGE, "run"), (PURGE, "schedule"), (PURGE, "stop"), (QUEUES, "pause"), (QUEUES, "resume"))
def test_the_audit_log_is_purged(flow: Flow) -> None:
    """In the same way."""
    clean_up(flow, PURGE, "Purge now", "PURGE_AUDIT_LOG", "0")


def clean_up(flow: Flow, path: str, now: str, queue: str, told: str) -> None:
    """Run it for counting alone, which it tells; then by schedule; and stop one that waits."""
    flow.go(path)
    flow.follow(now)
    flow.submit("run", "It runs.", dry_run=True)
    run = flow.page.url.rpartition("=")[2]
    flow.page.get_by_role("heading", name=f"Log of run {run}").wait_for()
    flow.row(f"#{run}").get_by_text("Done").wait_for()
    flow.row(f"#{run}").get_by_text(told, exact=True).wait_for()
    hold(flow, queue)
    flow.go(path)
    flow.follow(now)
    flow.submit("run", "It runs.", dry_run=True)
    run = flow.page.url.rpartition("=")[2]
    flow.go(path)
    flow.choose(run, "Stop", "It stops.")
    flow.row(f"#{run}").get_by_text("Stopped").wait_for()
    release(flow, queue)
    flow.go(path)
    flow.follow("Schedule")
    flow.submit("schedule", "Saved.", type="Custom", cron="0 0 3 1 1 *", dry_run=True)
    flow.shows("0 0 3 1 1 *")
    flow.follow("Schedule")
    flow.submit("schedule", "Saved.", type="None")
    flow.shows("never by itself")


@fires((QUEUES, "pause"), (QUEUES, "stop"), (QUEUES, "resume"))
def test_a_queue_is_held_and_emptied(flow: Flow) -> None:
    """What waits in it is counted live, and ended; then the queue goes on."""
    hold(flow, "GARBAGE_COLLECTION")
    dry = {"schedule": {"type": "Manual"}, "parameters": {"dry_run": True}}
    flow.site.maker().api("POST", "/system/gc/schedule", dry)
    line = flow.row("GARBAGE_COLLECTION")
    line.locator("td").nth(1).filter(has_text=re.compile(r"^\s*1\s*$")).wait_for()
    flow.choose("GARBAGE_COLLECTION", "End all that wait", "Done.")
    line.locator("td").nth(1).filter(has_text=re.compile(r"^\s*0\s*$")).wait_for()
    release(flow, "GARBAGE_COLLECTION")


@fires((f"{JOBS}/schedules", "pause"), (f"{JOBS}/schedules", "resume"))
def test_schedules_are_held(flow: Flow) -> None:
    """All of them, by one button that turns round."""
    flow.go(JOBS)
    flow.follow("Schedules")
    flow.press(flow.page.get_by_role("button", name="Hold all schedules"))
    flow.page.get_by_role("region", name="Figures").get_by_text("held").wait_for()
    flow.press(flow.page.get_by_role("button", name="Let schedules go on"))
    flow.page.get_by_role("region", name="Figures").get_by_text("running").wait_for()


@fires(*((f"/harbor/configs/{group}", "save") for group in ("auth", "setting", "audit")))
def test_settings_are_saved(flow: Flow) -> None:
    """A message stands above every page until it is taken away; what cannot be is refused."""
    flow.go("/harbor/configs")
    flow.submit("save", "Saved.", session_timeout="61")
    assert flow.form("save").locator("[name=session_timeout]").input_value() == "61"
    flow.submit("save", "Saved.", session_timeout="60")
    flow.follow("System")
    flow.submit("save", "Saved.", banner_message="The crane is being repaired")
    flow.go("/harbor/projects")
    flow.page.locator("p.banner").get_by_text("The crane is being repaired").wait_for()
    flow.go("/harbor/configs/setting")
    flow.submit("save", "Saved.", banner_message="")
    assert flow.page.locator("p.banner").count() == 0
    flow.page.locator("nav.tabs").get_by_text("Audit log").click()
    flow.refuse("save", "needs audit_log_forward_endpoint", skip_audit_log_database=True)
    flow.submit("save", "Saved.", skip_audit_log_database=False)


@fires((LDAP, "test"), (LDAP, "save"))
def test_a_directory_is_tried_and_kept(flow: Flow, ldap_server: LdapServer) -> None:
    """Tried as it is typed; another server needs the password again, and gets none before."""
    about = {"ldap_url": ldap_server.url, "ldap_search_dn": ADMIN_DN, "ldap_base_dn": BASE}
    flow.go(LDAP)
    try:
        flow.fill("save", **about, ldap_uid="uid", ldap_search_password=ADMIN_PASSWORD)
        flow.in_place("test", "It answers.")
        flow.submit("save", "Saved.")
        flow.in_place("test", "It answers.")
        flow.fill("save", ldap_url="ldap://127.0.0.1:1")
        flow.in_place("test", "That did not work")
        flow.refuse("save", "ldap_search_password", ldap_url="ldap://127.0.0.1:1")
    finally:
        flow.setting({"ldap_url": "", "ldap_search_dn": "", "ldap_base_dn": ""})


@fires((OIDC, "test"), (OIDC, "save"))
def test_a_provider_is_tried_and_kept(flow: Flow, oidc_provider: RealProvider) -> None:
    """In the same way, with its client's secret."""
    flow.go(OIDC)
    try:
        flow.fill("save", oidc_endpoint=oidc_provider.issuer, oidc_client_id="moorage")
        flow.in_place("test", "It answers.")
        flow.submit("save", "Saved.", oidc_client_secret="Aa1-of-the-client")
        flow.refuse("save", "oidc_client_secret", oidc_endpoint="http://127.0.0.1:1/elsewhere")
        flow.in_place("test", "That did not work")
    finally:
        flow.setting({"oidc_endpoint": "", "oidc_client_id": ""})


@fires()
def test_the_log_of_a_year_is_narrowed(flow: Flow) -> None:
    """By who, what and which kind; the address says so, and the page before comes back."""
    page = flow.page
    flow.go("/harbor/logs?size=50")
    page.locator("tr[data-row]").nth(49).wait_for()
    page.get_by_placeholder("Filter by user").fill("jonas")
    page.wait_for_url(re.compile("who=jonas"))
    page.get_by_role("combobox", name="Did").select_option("pull")
    page.wait_for_url(re.compile("operation=pull"))
    page.locator("tr[data-row]", has_text="mara").first.wait_for(state="detached")
    page.get_by_role("link", name="Next page").click()
    page.wait_for_url(re.compile("page=2"))
    page.go_back()
    page.wait_for_url(lambda url: "page=2" not in url)
    assert page.get_by_placeholder("Filter by user").input_value() == "jonas"
    flow.go("/harbor/health")
    flow.row("database").get_by_text("healthy").wait_for()
