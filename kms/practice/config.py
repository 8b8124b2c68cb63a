"""Writes conclave.toml of a practice site, and finds a folder for its sockets."""

import json
import os
import secrets
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from kms.practice.files import PUBLIC, write_new
from kms.practice.layout import BANNER, SITE_TOKEN, SPACES, TOKENS, PracticeSite
from kms.settings import Paths
from kms.statements.canonical import b64u, unb64u

_SOCKET_PATH_BYTES = 107
"""sun_path of unix(7), less its end."""

_CONFIG = """\
# {mark}: made by conclave init --practice. Not for real meetings.
[site]
id = {site_id}
banner = {banner}

[paths]
state = {state}
run = {run}

[hsm]
profile = {profile}

[hsm.environment]
SOFTHSM2_CONF = {softhsm}

{tokens}
[ceremonies]
software_credentials = true

[disks]
appliance_key = {appliance}

[api.tls]
address = "127.0.0.1"
port = 0
certificate = {certificate}
key = {key}
client_ca = {client_ca}
hosts = ["127.0.0.1", "localhost"]

{board}[[caller]]
uid = {uid}
principal = "practice-console"
roles = ["appliance", "auditor", "officer", "operator"]
spaces = ["*"]

# Has no role, so that one can be granted to it for a time. No user of this machine has its number:
# put one of your own here to use the grant.
[[caller]]
uid = {clerk}
principal = "practice-clerk"
roles = []
spaces = []
"""
_CLERK = 4_000_000_000
"""A uid that no system gives to a user: the greatest that useradd chooses is far below it."""

_BOARD = """\
[board]
origin = "http://localhost:{port}"

"""
_PORTS = range(20_000, 32_000)


def write_config(site: PracticeSite, profile: Path, *, board: bool = True) -> None:
    """Write the configuration in one step: its presence says that the site is complete."""
    draft_config(site, profile, board=board).rename(site.config)


def draft_config(site: PracticeSite, profile: Path, *, board: bool = True) -> Path:
    """Write the configuration under another name, for the ceremonies that complete the site.
    Without a ``board`` the service takes no fixed port.
    """
    text = _CONFIG.format(
        mark=BANNER,
        site_id=_quoted(site.site_id),
        banner=_quoted(BANNER),
        state=_quoted(site.state),
        run=_quoted(_socket_folder(site)),
        profile=_quoted(profile.absolute()),
        softhsm=_quoted(site.softhsm),
        tokens=_tokens(),
        appliance=_quoted(_appliance_key(site)),
        certificate=_quoted(site.tls_certificate),
        key=_quoted(site.tls_key),
        client_ca=_quoted(site.tls_ca),
        board=_BOARD.format(port=_free_port()) if board else "",
        uid=os.getuid(),
        clerk=_CLERK,
    )
    write_new(site.draft, text.encode(), PUBLIC)
    return site.draft


def _free_port() -> int:
    """Return a TCP port of loopback that nobody listens on now, and that the system gives to no
    connection. A board's port is part of its origin, to which passkeys are bound, so it is fixed.
    """
    while True:
        port = _PORTS.start + secrets.randbelow(len(_PORTS))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _tokens() -> str:
    labels = [f'[[hsm.tokens]]\nlabel = "{SITE_TOKEN}"\n']
    labels += [f'[[hsm.tokens]]\nlabel = "{one.token}"\nspace = "{one.name}"\n' for one in SPACES]
    return "\n".join(labels)


def _appliance_key(site: PracticeSite) -> str:
    """Return the public half of the appliance daemon's key (base64url)."""
    key = X25519PrivateKey.from_private_bytes(unb64u(site.appliance_key.read_text("ascii")))
    return b64u(key.public_key().public_bytes_raw())


def _socket_folder(site: PracticeSite) -> Path:
    """Return ``run`` in the site's folder, or a short temporary one if paths would be too long."""
    run = site.directory / "run"
    longest = max(len(str(Paths(run=run).worker_socket(label)).encode()) for label in TOKENS)
    if longest > _SOCKET_PATH_BYTES:
        return Path(tempfile.mkdtemp(prefix="conclave-"))
    run.mkdir(mode=0o700)
    return run


def _quoted(value: object) -> str:
    """Return a TOML basic string; JSON's escapes are a subset of TOML's."""
    return json.dumps(str(value), ensure_ascii=False)
