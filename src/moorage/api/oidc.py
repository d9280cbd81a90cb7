"""The OpenID provider behind the sign-in: /system/oidc."""

from fastapi import APIRouter
from starlette.responses import Response

from moorage.accounts.oidc.settings import check_url
from moorage.api.access import Admin, Api
from moorage.api.wire import Text, Wire
from moorage.errors import Invalid, Unreachable

router = APIRouter(tags=["oidc"])


class OIDCEndpoint(Wire):
    """A provider to try."""

    url: Text = ""
    verify_cert: bool = True


@router.post("/system/oidc/ping")
async def ping_oidc(api: Api, who: Admin, body: OIDCEndpoint) -> Response:
    """Whether a provider is there; 400 says why not."""
    try:
        await api.oidc.discover(check_url(body.url), verify=body.verify_cert)
    except Unreachable as error:
        raise Invalid(error.message) from error
    return Response(status_code=200)
