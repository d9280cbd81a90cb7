"""What the role registry answers: `/v2`."""

from starlette.types import ASGIApp

from moorage.config.settings import Settings
from moorage.distribution import Distribution, Options
from moorage.distribution.mirrors import Mirrors
from moorage.distribution.proxied import Proxied
from moorage.roles.resources import Resources


def registry_face(resources: Resources) -> ASGIApp:
    """The distribution API."""
    return Distribution(
        pulls=resources.pulls,
        uploads=resources.uploads,
        manifests=resources.manifests,
        listing=resources.listing,
        callers=resources.callers,
        grants=resources.grants,
        options=options(resources.settings),
        settings=resources.configurations,
        proxied=Proxied(resources.through, *resources.through_lists),
        mirrors=Mirrors(resources.settings.proxy.mirrors, resources.settings.proxy.hosts),
    )


def options(settings: Settings) -> Options:
    """What the operator set; the rest of the options are limits that nobody has to set."""
    http = settings.http
    return Options(
        external_url=http.external_url,
        relative_locations=http.relative_locations,
        accel_redirect=http.accel_redirect,
        redirect=not settings.storage.redirect.disable,
        token_service=settings.auth.token_service,
        notice=http.notice,
        chunk_min_length=settings.uploads.chunk_min_bytes,
        patience=settings.uploads.stall_seconds,
    )
