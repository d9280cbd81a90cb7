"""The portal: pages for people, made of what the REST API answers and of nothing else.

    browser ─► routes ─► pages ─► PortalApi ─► /api/v2.0, /c     in this process, or over HTTP
                           └────► templates                      Jinja2; one page, one template

It keeps nothing: the session, the CSRF token and every right are the API's, so any replica answers
any request. A page is readable and every form works without JavaScript; htmx and `static/app.js`
only make it faster.
"""

from moorage.portal.app import Portal
from moorage.portal.client import PortalApi

__all__ = ["Portal", "PortalApi"]
