"""Icons of artifacts: /icons/{digest}."""

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from moorage.api.wire import Wire, reply
from moorage.artifacts import icons

router = APIRouter(tags=["icon"])


class IconResp(Wire):
    """A picture."""

    content_type: str = Field(default="", alias="content-type")
    content: str = Field(default="", description="The picture in base64.")


@router.get("/icons/{digest}", response_model=IconResp)
async def get_icon(digest: str) -> Response:
    """The icon that an artifact names by its digest."""
    icon = icons.find(digest)
    return reply(IconResp(content_type=icon.content_type, content=icon.content))
