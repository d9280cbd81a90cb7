"""What the role registry answers: `/v2`."""

from starlette.types import ASGIApp

from moorage.distribution import Distribution, Options
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
        options=_options(resources),
    )


def _options(resources: Resources) -> Options:
    http = resources.settings.http
    return Options(
        external_url=http.external_url,
        relative_locations=http.relative_locations,
        accel_redirect=http.accel_redirect,
        redirect=not resources.settings.storage.redirect.disable,
        token_service=resources.settings.auth.token_service,
        notice=http.notice,
    )
