"""Files of the board itself, which every visitor may have and keep for a while."""

from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles


class Static(StaticFiles):
    """Serves them; nothing in them is anybody's."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """Return a file that browsers may keep."""
        response = super().file_response(*args, **options)
        response.headers["cache-control"] = "public, max-age=3600"
        return response
