"""One token's worker process: ``python -m kms.hsm.worker --config FILE --token LABEL --pin-fd N``.

It alone holds the PIN and the module. The PIN comes on a descriptor and goes nowhere else. It
ends with 0 when told to, 69 when the token is lost and another process may find it again, 78 when
configuration, PIN or the token's contents are wrong, by SIGALRM when a request hangs.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kms.errors import ConclaveError, ConfigurationError, HsmUnavailable, PinError
from kms.hardening import harden
from kms.hsm.desk import EXIT_CONFIGURATION, EXIT_TOKEN_LOST, SiteDesk, SpaceDesk
from kms.hsm.profile import load_profile
from kms.hsm.server import Server, listen
from kms.hsm.token import Token
from kms.logs import configure
from kms.settings import Settings, load
from kms.settings import Token as TokenSettings
from kms.statements.diskkeys import load_appliance_key

_MAX_PIN = 4096
_LOG = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one worker and return its exit code."""
    options = _parse(arguments)
    harden()
    process = f"worker {options.token}"
    configure(process)
    try:
        settings = load(options.config)
        configure(process, settings.log.format, settings.log.level)
        return _serve(settings, _named(settings, options.token), options)
    except HsmUnavailable as error:
        _LOG.error("%s", error.message)
        return EXIT_TOKEN_LOST
    except ConclaveError as error:
        _LOG.error("%s %s", error.message, error.hint)
        return EXIT_CONFIGURATION


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kms.hsm.worker", description="Serve one token.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--token", required=True, help="the token's label")
    parser.add_argument("--pin-fd", type=int, required=True, help="descriptor that holds the PIN")
    parser.add_argument("--ready-fd", type=int, help="gets one byte when requests are answered")
    return parser.parse_args(arguments)


def _serve(settings: Settings, named: TokenSettings, options: argparse.Namespace) -> int:
    pin = _read_pin(options.pin_fd)
    os.environ.update(settings.hsm.environment)
    profile = load_profile(settings.hsm.profile)
    token = Token(profile, named.label, pin, writable=not named.space)
    del pin
    desk = _desk(settings, token, named.space)
    desk.keys()
    path = settings.paths.worker_socket(named.label)
    with listen(path) as listener:
        server = Server(listener, desk, settings.hsm.deadline_seconds)
        code = server.run(lambda: _announce(options.ready_fd))
        path.unlink(missing_ok=True)
    token.drop()
    return code


def _desk(settings: Settings, token: Token, space: str) -> SpaceDesk | SiteDesk:
    if not space:
        return SiteDesk(token, settings.site.id)
    told = settings.disks.appliance_key
    appliance = load_appliance_key(told) if told else None
    return SpaceDesk(token, space, settings.site.id, appliance=appliance)


def _named(settings: Settings, label: str) -> TokenSettings:
    for token in settings.hsm.tokens:
        if token.label == label:
            return token
    raise ConfigurationError(f"the configuration has no token {label}")


def _read_pin(descriptor: int) -> str:
    """Return the PIN: all that the descriptor holds."""
    with os.fdopen(descriptor, "rb") as source:
        data = source.read(_MAX_PIN + 1)
    try:
        pin = data.decode()
    except UnicodeDecodeError:
        raise PinError("the PIN is not text") from None
    if not 0 < len(data) <= _MAX_PIN:
        raise PinError("no PIN came on the descriptor")
    return pin


def _announce(descriptor: int | None) -> None:
    if descriptor is not None:
        os.write(descriptor, b"1")
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
