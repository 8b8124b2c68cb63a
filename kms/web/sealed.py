"""The board of a sealed box: one page that says so, to anybody; nobody signs in."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from kms.i18n import language, speak
from kms.settings import Settings
from kms.web.cookies import read_language
from kms.web.render import HERE, render
from kms.web.security import Guarded
from kms.web.static import Static

_UNAVAILABLE = 503


def sealed_board(settings: Settings) -> ASGIApp | None:
    """Return the application, None if the configuration has no board."""
    if settings.board is None:
        return None
    site = settings.site

    async def answer(request: Request) -> Response:
        speak(read_language(request))
        values = {"site": site.id, "banner": site.banner, "language": language().value}
        return HTMLResponse(render("sealed.html", values), _UNAVAILABLE)

    static = Mount("/static", Static(directory=HERE / "static"))
    app = Starlette(routes=[static, Route("/{path:path}", answer)])
    return Guarded(app, settings.board.origin)
