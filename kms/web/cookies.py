"""The board's two cookies: the session's, and the language. Both are for this host alone."""

from http.cookies import CookieError, SimpleCookie

from starlette.requests import Request
from starlette.responses import Response

from kms.i18n import Language

SESSION, LANGUAGE = "__Host-conclave", "__Host-conclave-language"
YEAR_SECONDS = 31_536_000


def read_cookie(request: Request, name: str) -> str:
    """Return a cookie's value; nothing of one that comes twice or cannot be read."""
    try:
        values = [
            morsel.value
            for header in request.headers.getlist("cookie")
            for part in header.split(";")
            for key, morsel in SimpleCookie(part).items()
            if key == name
        ]
    except CookieError:
        return ""
    return values[0] if len(values) == 1 else ""


def keep(response: Response, name: str, value: str, seconds: int | None = None) -> None:
    """Have the browser keep a cookie, for as long as it runs if no seconds are given."""
    response.set_cookie(
        name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="strict"
    )


def read_language(request: Request) -> Language:
    """Return the language that the browser keeps, Chinese if it keeps none."""
    try:
        return Language(read_cookie(request, LANGUAGE) or Language.ZH)
    except ValueError:
        return Language.ZH
