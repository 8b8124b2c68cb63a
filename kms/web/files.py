"""Files that the board hands out: always to be saved, never shown by the browser."""

from starlette.responses import Response


def attachment(data: bytes, name: str, media_type: str) -> Response:
    """Return a file to be saved under ``name``, which is plain ASCII without quotes."""
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(data, 200, headers, media_type)
