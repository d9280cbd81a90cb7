"""Webhooks of a project: whom it tells of what, and what became of it."""

import asyncio
from typing import Any

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import Problem
from moorage.portal.parts import Choice, Column, Crumb, Document, Field, Form, Item, Row, Table
from moorage.portal.scope import PROJECTS, Scope, scope
from moorage.portal.shapes.jobs import Execution, Task
from moorage.portal.shapes.webhooks import Webhook, WebhookEvents
from moorage.portal.visits import Visit

FORMATS = ("Default", "CloudEvents")


async def webhooks(visit: Visit) -> Response:
    """The policies."""
    here = await scope(visit)
    _ = visit.gettext
    view = visit.view(sort="name")
    api = f"{here.api}/webhook"
    found, form = await asyncio.gather(
        visit.page(Webhook, f"{api}/policies", view), _form(visit, here)
    )
    table = Table(
        _("Webhooks"),
        [
            Column(_("Name"), "name"),
            Column(_("State")),
            Column(_("Target")),
            Column(_("Events")),
            Column(_("Created"), "creation_time"),
        ],
        [_row(visit, here, each) for each in found.items],
        found.total,
        view,
        _("No webhooks"),
        _("A webhook tells another server what happens in this project."),
        "bell",
    )
    new = Item(_("New webhook"), visit.doing("new"), icon="plus")
    return await visit.render(
        "page.html",
        **here.head("webhook"),
        actions=[new] if here.may("notification-policy", "create") else [],
        form=form,
        sections=[table],
    )


def _row(visit: Visit, here: Scope, hook: Webhook) -> Row:
    _ = visit.gettext
    state = (_("Enabled"), "signed") if hook.enabled else (_("Disabled"), "amber")
    target = hook.targets[0] if hook.targets else None
    addresses = [each.address for each in hook.targets]
    menu = []
    if here.may("notification-policy", "update"):
        switch = {"id": str(hook.id), "enabled": str(not hook.enabled).lower()}
        menu = [
            Item(_("Edit"), visit.doing("edit", hook.id)),
            Item(_("Send a test"), op="test", values={"id": str(hook.id)}),
            Item(_("Disable") if hook.enabled else _("Enable"), op="switch", values=switch),
        ]
    if here.may("notification-policy", "delete"):
        href = visit.doing("delete", hook.id)
        menu.append(Item(_("Delete"), href, icon="trash-2", danger=True))
    return Row(
        [
            parts.link(hook.name, f"{visit.path}/{hook.id}", hook.description),
            parts.chips(state),
            parts.text(", ".join(addresses), target.type if target else ""),
            parts.chips(*((event, "plain") for event in hook.event_types)),
            parts.time(hook.creation_time),
        ],
        str(hook.id),
        hook.name,
        menu,
    )


async def _form(visit: Visit, here: Scope) -> Form | None:
    _ = visit.gettext
    do, chosen = visit.query.get("do"), visit.query.get("id", "")
    hook = Webhook(enabled=True)
    if do in ("edit", "delete") and chosen.isdigit():
        asked = visit.get(Webhook, f"{here.api}/webhook/policies/{chosen}")
        hook = await visit.unless_gone(asked) or hook
    if do == "delete" and hook.id:
        title = _("Delete this webhook?")
        kept, names = {"id": chosen}, [hook.name]
        return Form("delete", title, (), _("Delete"), "", True, visit.back, kept, names)
    if do not in ("new", "edit") or (do == "edit" and not hook.id):
        return None
    events = await visit.get(WebhookEvents, f"{here.api}/webhook/events")
    new = do == "new"
    title = _("New webhook") if new else _("Edit the webhook")
    return Form(
        "create" if new else "edit",
        title,
        _fields(visit, hook, events),
        _("Create") if new else _("Save"),
        cancel=visit.back,
        values={} if new else {"id": chosen},
    )


def _fields(visit: Visit, hook: Webhook, events: WebhookEvents) -> list[Field]:
    _ = visit.gettext
    target = hook.targets[0] if hook.targets else None
    return [
        Field("name", _("Name"), value=hook.name, required=True),
        Field("description", _("Description"), value=hook.description),
        Field(
            "type",
            _("Kind"),
            "select",
            target.type if target else "http",
            choices=[Choice(each, each) for each in events.notify_type],
        ),
        Field(
            "format",
            _("Format"),
            "select",
            target.payload_format if target else "Default",
            choices=[Choice(each, each) for each in FORMATS],
        ),
        Field(
            "address",
            _("Address"),
            "url",
            target.address if target else "",
            required=True,
            placeholder="https://",
            help=_others(visit, hook),
        ),
        Field(
            "auth_header",
            _("Authorization header"),
            "password",
            help=_("Never shown again. Empty keeps it, for the same address."),
        ),
        Field(
            "secret",
            _("Signing secret"),
            "password",
            help=_("Signs what is sent. Empty keeps it, for the same address."),
        ),
        Field(
            "verify",
            _("Verify the certificate"),
            "checkbox",
            not (target and target.skip_cert_verify),
        ),
        Field(
            "event",
            _("Events"),
            "checks",
            hook.event_types,
            choices=[Choice(each, each) for each in events.event_type],
        ),
    ]


def _others(visit: Visit, hook: Webhook) -> str:
    """What the form does not ask for."""
    addresses = ", ".join(each.address for each in hook.targets[1:])
    if not addresses:
        return ""
    return visit.gettext("These are told as well, and stay: %(addresses)s", addresses=addresses)


async def change(visit: Visit) -> Response:
    """Make, change, try or delete a webhook."""
    here = await scope(visit)
    op, number = visit.field("op"), visit.integer("id")
    api = f"{here.api}/webhook/policies"
    _ = visit.gettext
    if op == "create":
        await visit.send("POST", api, _body(visit) | {"enabled": True})
    elif op == "edit":
        hook = await visit.get(Webhook, f"{api}/{number}")
        body = _body(visit) | {"enabled": hook.enabled}
        body["targets"] += [each.model_dump() for each in hook.targets[1:]]  # the API makes those
        await visit.send("PUT", f"{api}/{number}", body)
        if hook.targets and visit.field("address") != hook.targets[0].address:
            return visit.done(visit.back, _moved(visit))
    elif op == "switch":
        await visit.send("PATCH", f"{api}/{number}", {"enabled": visit.field("enabled") == "true"})
    elif op == "test":
        answer = await visit.send("POST", f"{api}/{number}/test")
        execution = answer.headers.get("location", "").rpartition("/")[2]
        return visit.done(
            f"{visit.path}/{number}?execution={execution}", _("A test is on its way.")
        )
    elif op == "delete":
        await visit.send("DELETE", f"{api}/{number}")
        return visit.done(visit.back, _("Deleted."))
    else:
        raise Problem(400, "BAD_REQUEST", _("That is not known here."))
    return visit.done(visit.back, _("Saved."))


def _moved(visit: Visit) -> str:
    """What the new address is not sent, as each secret is for one address; the API does not say
    whether there was any."""
    _ = visit.gettext
    header = bool(visit.raw("auth_header"))
    signed = bool(visit.raw("secret")) or visit.field("type") != "http"  # others cannot be
    if header and signed:
        return _("Saved.")
    if header:
        return _("Saved. What the new address is sent is not signed: no secret was typed for it.")
    if signed:
        return _("Saved. No authorization header goes to the new address: none was typed for it.")
    return _(
        "Saved. The new address gets no authorization header and no signature: "
        "none was typed for it."
    )


def _body(visit: Visit) -> dict[str, Any]:
    target = {
        "type": visit.field("type"),
        "address": visit.field("address"),
        "skip_cert_verify": not visit.checked("verify"),
    }
    if target["type"] == "http":
        target["payload_format"] = visit.field("format")
    target |= {name: visit.raw(name) for name in ("auth_header", "secret") if visit.raw(name)}
    return {
        "name": visit.field("name"),
        "description": visit.field("description"),
        "event_types": list(visit.fields("event")),
        "targets": [target],
    }


async def deliveries(visit: Visit) -> Response:
    """What one webhook told, and what was answered."""
    here = await scope(visit)
    _ = visit.gettext
    number = str(visit.params["policy"])
    api = f"{here.api}/webhook/policies/{number}"
    view = visit.view("execution")
    hook, found = await asyncio.gather(
        visit.get(Webhook, api), visit.page(Execution, f"{api}/executions", view)
    )
    rows = [
        Row(
            [
                parts.link(f"#{each.id}", f"{visit.path}?execution={each.id}"),
                parts.text(each.extra_attrs.get("event_type", "")),
                parts.state(each.status),
                parts.time(each.start_time),
                parts.text(each.status_message),
            ],
            name=str(each.id),
        )
        for each in found.items
    ]
    sections: list[object] = []
    execution = view.kept.get("execution", "")
    if execution.isdigit():
        sections += await _logs(visit, f"{api}/executions/{execution}", execution)
    sections.append(
        Table(
            _("Deliveries"),
            [
                Column(_("Id")),
                Column(_("Event")),
                Column(_("State")),
                Column(_("Sent")),
                Column(_("Message")),
            ],
            rows,
            found.total,
            view,
            _("Nothing was told yet"),
            icon="bell",
        )
    )
    head = here.head("webhook")
    crumbs = here.crumbs(Crumb(_("Webhooks"), f"{here.path}/webhook"), Crumb(hook.name))
    return await visit.render(
        "page.html",
        **head | {"title": hook.name, "glyph": "bell", "crumbs": crumbs},
        live=view.url(live="1"),
        sections=sections,
    )


async def _logs(visit: Visit, api: str, execution: str) -> list[Document]:
    tasks = (await visit.all(Task, f"{api}/tasks", page_size=10)).items
    texts = await asyncio.gather(*(visit.text(f"{api}/tasks/{task.id}/log") for task in tasks))
    title = visit.gettext("Delivery %(id)s", id=execution)
    empty = visit.gettext("Nothing was logged yet.")
    return [Document(title, text, empty=empty) for text in texts]


ROUTES = (
    (PROJECTS + "/{project}/webhook", webhooks, change),
    (PROJECTS + "/{project}/webhook/{policy:int}", deliveries, None),
)
