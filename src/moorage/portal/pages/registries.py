"""Other registries: where artifacts are replicated to and from, and what projects are caches of."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import Problem, plain, quoted
from moorage.portal.i18n import N_
from moorage.portal.parts import Choice, Column, Crumb, Field, Filter, Form, Item, Row, Table
from moorage.portal.shapes.registries import Provider, Registry
from moorage.portal.visits import Visit

BASE = "/harbor/registries"
TITLES: Mapping[str, str] = {
    "docker-registry": "Docker Registry, zot, OCI",
    "harbor": "Harbor, Moorage",
    "docker-hub": "Docker Hub",
    "github-ghcr": "GitHub GHCR",
    "gitlab": "GitLab",
    "quay": "Quay",
    "aws-ecr": "AWS ECR",
    "azure-acr": "Azure ACR",
    "google-gcr": "Google GCR",
    "ali-acr": "Alibaba ACR",
    "tencent-tcr": "Tencent TCR",
    "huawei-SWR": "Huawei SWR",
    "volcengine-cr": "Volcengine CR",
    "jfrog-artifactory": "JFrog Artifactory",
}
"""Names that nobody translates; a kind without one is called by its type."""
STATES = {"healthy": (N_("healthy"), "signed"), "unhealthy": (N_("unwell"), "red")}


async def registries(visit: Visit) -> Response:
    """The list, and the form over it."""
    _ = visit.gettext
    view = visit.view(sort="name")
    q = view.kept.get("q", "")
    found, form = await asyncio.gather(
        visit.page(Registry, "/registries", view, q=f"name=~{quoted(q)}" if q else ""),
        _form(visit),
    )
    table = Table(
        _("Registries"),
        [
            Column(_("Name"), "name"),
            Column(_("State"), "status"),
            Column(_("URL"), "url"),
            Column(_("Provider"), "type"),
            Column(_("Certificate")),
            Column(_("Created"), "creation_time"),
        ],
        [_row(visit, each) for each in found.items],
        found.total,
        view,
        _("No registries"),
        _("Artifacts are replicated to and from them, and projects can be their cache."),
        "server",
        filters=[Filter("q", _("Filter by name"), q)],
    )
    return await visit.render(
        "page.html",
        title=_("Registries"),
        glyph="server",
        crumbs=[Crumb(_("Registries"))],
        actions=[Item(_("New registry"), visit.doing("new"), icon="plus")],
        form=form,
        sections=[table],
    )


def _row(visit: Visit, each: Registry) -> Row:
    _ = visit.gettext
    state, tone = STATES.get(each.status, (N_("not looked at yet"), "plain"))
    edit = visit.doing("edit", each.id)
    menu = [
        Item(_("Edit"), edit),
        Item(_("Replicate"), f"/harbor/replications?do=new&registry={each.id}"),
        Item(_("Delete"), visit.doing("delete", each.id), icon="trash-2", danger=True),
    ]
    verified = (_("not verified"), "amber") if each.insecure else (_("verified"), "signed")
    return Row(
        [
            parts.link(each.name, edit, each.description),
            parts.chips((_(state), tone)),
            parts.text(each.url),
            parts.text(TITLES.get(each.type, each.type)),
            parts.chips(verified),
            parts.time(each.creation_time),
        ],
        str(each.id),
        each.name,
        menu,
    )


async def providers(visit: Visit) -> Mapping[str, Provider]:
    """The kinds that the API knows, with the places where they are."""
    answer = await visit.send("GET", "/replication/adapterinfos")
    return {kind: Provider.model_validate(said) for kind, said in plain(answer.content).items()}


async def _form(visit: Visit) -> Form | None:
    _ = visit.gettext
    do, chosen = visit.query.get("do"), visit.query.get("id", "")
    registry = Registry(type="harbor")
    if do in ("edit", "delete") and chosen.isdigit():
        asked = visit.get(Registry, f"/registries/{chosen}")
        registry = await visit.unless_gone(asked) or registry
    if do == "delete" and registry.id:
        title, kept = _("Delete this registry?"), {"id": chosen}
        note = _("Rules and projects that use it have to go first.")
        names = [registry.name]
        return Form("delete", title, (), _("Delete"), note, True, visit.back, kept, names)
    if do == "new" or (do == "edit" and registry.id):
        kinds = await providers(visit)
        new = do == "new"
        return Form(
            "create" if new else "edit",
            _("New registry") if new else _("Edit the registry"),
            _fields(visit, registry, kinds, new=new),
            _("Create") if new else _("Save"),
            _("It is kept only when it answers."),
            cancel=visit.back,
            values={} if new else {"id": chosen},
            also=[Item(_("Test the connection"), op="test", icon="activity")],
            in_place=True,
        )
    return None


def _fields(
    visit: Visit, registry: Registry, kinds: Mapping[str, Provider], *, new: bool
) -> Sequence[Field]:
    _ = visit.gettext
    places = [each for kind in kinds.values() for each in kind.endpoint_pattern.endpoints]
    choices = sorted((Choice(kind, TITLES.get(kind, kind)) for kind in kinds), key=_label)
    stored = _("Never shown. Empty keeps it, for the same server and user name.")
    return [
        Field("type", _("Provider"), "select", registry.type, choices=choices, disabled=not new),
        Field("name", _("Name"), value=registry.name, required=True),
        Field("description", _("Description"), value=registry.description),
        Field(
            "url",
            _("URL"),
            "url",
            registry.url,
            _("Empty for the provider's own, where it has one.") if new else "",
            not new,
            [Choice(each.value, each.key) for each in places],
            "https://",
        ),
        Field("access_key", _("User name or access key"), value=registry.credential.access_key),
        Field("access_secret", _("Password or secret"), "password", help="" if new else stored),
        Field(
            "verify",
            _("Verify the certificate"),
            "checkbox",
            not registry.insecure,
        ),
        Field(
            "ca_certificate",
            _("Certificates of its own authority"),
            "textarea",
            registry.ca_certificate,
            _("In PEM form, when no public authority vouches for it."),
        ),
    ]


def _label(choice: Choice) -> str:
    return choice.label.lower()


async def change(visit: Visit) -> Response:
    """Register, try, change or forget a registry."""
    _ = visit.gettext
    op, number = visit.field("op"), visit.integer("id")
    if op == "create":
        await visit.send("POST", "/registries", await _new(visit))
        return visit.done(visit.back, _("%(name)s is registered.", name=visit.field("name")))
    if op == "edit":
        await visit.send("PUT", f"/registries/{number}", _changes(visit))
        return visit.done(visit.back, _("Saved."))
    if op == "delete":
        await visit.send("DELETE", f"/registries/{number}")
        return visit.done(visit.back, _("Deleted."))
    if op == "test":
        await visit.send("POST", "/registries/ping", await _ping(visit, number))
        visit.notice = _("It answers.")
        return await registries(visit)
    raise Problem(400, "BAD_REQUEST", _("That is not known here."))


async def _url(visit: Visit) -> str:
    """What was typed, or where the only or the first instance of the provider is."""
    said = visit.field("url")
    if said:
        return said
    found = (await providers(visit)).get(visit.field("type"), Provider())
    endpoints = found.endpoint_pattern.endpoints
    return endpoints[0].value if endpoints else ""


async def _new(visit: Visit) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": visit.field("name"),
        "description": visit.field("description"),
        "type": visit.field("type"),
        "url": await _url(visit),
        "insecure": not visit.checked("verify"),
        "ca_certificate": visit.raw("ca_certificate"),
    }
    if visit.field("access_key"):
        body["credential"] = {
            "type": "basic",
            "access_key": visit.field("access_key"),
            "access_secret": visit.raw("access_secret"),
        }
    return body


def _changes(visit: Visit) -> dict[str, Any]:
    body = {
        "name": visit.field("name"),
        "description": visit.field("description"),
        "url": visit.field("url"),
        "credential_type": "basic",
        "access_key": visit.field("access_key"),
        "insecure": not visit.checked("verify"),
        "ca_certificate": visit.raw("ca_certificate"),
    }
    if visit.raw("access_secret"):
        body["access_secret"] = visit.raw("access_secret")
    return body


async def _ping(visit: Visit, number: int) -> dict[str, Any]:
    """A stored registry is tried with its stored secret unless another one is given."""
    if number:
        known = ("url", "access_key", "access_secret", "insecure", "ca_certificate")
        return {"id": number} | {k: v for k, v in _changes(visit).items() if k in known}
    said = await _new(visit)
    account = said.pop("credential", {})
    return {name: said[name] for name in ("type", "url", "insecure", "ca_certificate")} | {
        name: account[name] for name in ("access_key", "access_secret") if name in account
    }


ROUTES = ((BASE, registries, change),)
