"""The example programs of the main job, pointed at a running practice site."""

from pathlib import Path
from typing import Any

from tests.practice.examples import MEDIA_MODULE, Example
from tests.practice.service import Service

WRAP_ALG = "RSA-OAEP"


def meeting_server(service: Service, control: Path, certificates: list[Path]) -> Example:
    """ms-1 in the roster space; it goes on forwarding to whoever left, who opens nothing."""
    server = service.site.server("ms-1")
    devices = [f"--device={path}" for path in certificates]
    return Example("meeting_server", [
        *_api(service, "ms-1"), "--space", server.space,
        "--roster-key", server.own_key, "--control", control, "--careless", *devices,
    ])  # fmt: skip


def participant(service: Service, opened: dict[str, Any], key: Path, media: str) -> Example:
    """A device that joins the meeting, its frames going through ``media`` (HOST:PORT)."""
    return Example("participant", [
        "--control", opened["control"], "--space", opened["space"],
        "--meeting", opened["meeting"], "--key", key, "--media", media, *_pinned(service),
        "--key-list", service.site.key_list, "--media-module", MEDIA_MODULE,
    ])  # fmt: skip


def trusted_server(service: Service, name: str, *more: str) -> Example:
    """A registered meeting server of the trusted space."""
    server = service.site.server(name)
    return Example("trusted_server", [
        *_api(service, name), "--space", server.space, "--key", server.own_key,
        *_pinned(service), "--media-module", MEDIA_MODULE, *more,
    ])  # fmt: skip


def _api(service: Service, name: str) -> tuple[str | Path, ...]:
    server = service.site.server(name)
    return (
        "--api-url", service.url, "--tls-cert", server.certificate,
        "--tls-key", server.tls_key, "--tls-ca", service.site.tls_ca,
    )  # fmt: skip


def _pinned(service: Service) -> tuple[str | Path, ...]:
    return "--site", service.site.site_id, "--root", service.site.site_root, "--wrap-alg", WRAP_ALG
