"""``conclave-appliance``: the daemon of the box's encrypted disks, its key, and a check of both.

It ends with 0 when told to, 69 when kms does not answer a check, 78 when configuration or key are
unusable, 71 for anything else: then systemd starts it again, which it does not after 78. Under
systemd it runs as root with few capabilities (image/units).
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from types import FrameType

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from appliance.daemon.doing import Doer
from appliance.daemon.loop import Daemon, Stop
from appliance.daemon.reports import Reports
from appliance.hotplug import Hotplug
from appliance.link import Link
from appliance.orders import OrderWatch
from appliance.own_key import load_key, make_key, public_text
from appliance.run import Programs, find_program
from appliance.seen import Seen
from appliance.settings import DEFAULT_PATH, Settings, load
from appliance.storage.backups import HeaderBackups
from appliance.storage.file_systems import FileSystems
from appliance.storage.luks import Luks, check_device_mapper
from appliance.storage.mounts import Mounts
from appliance.systemd import Notifier
from appliance.work import Bench
from kms.client.api import Client
from kms.errors import ConclaveError, ConfigurationError, Unavailable
from kms.hardening import harden, lies_in_memory, swap_areas
from kms.logs import configure

_LOG = logging.getLogger(__name__)
_OK, _UNAVAILABLE, _SYSTEM, _CONFIGURATION = 0, 69, 71, 78
_ANSWER_SECONDS = 15.0
_PROGRAMS = (
    "cp",
    "cryptsetup",
    "e2fsck",
    "mke2fs",
    "mount",
    "prlimit",
    "resize2fs",
    "sync",
    "tune2fs",
    "umount",
)
"""What the works start."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code."""
    options = _parse(arguments)
    os.umask(0o077)
    configure("appliance", "text")
    try:
        settings = load(options.config)
        configure("appliance", settings.log_format, settings.log_level)
        command: Callable[[Settings], int] = options.command
        return command(settings)
    except Unavailable as error:
        _LOG.error("%s", _told(error))
        return _UNAVAILABLE
    except ConfigurationError as error:
        _LOG.error("%s", _told(error))
        return _CONFIGURATION
    except (ConclaveError, OSError) as error:
        _LOG.error("%s", _told(error))
        return _SYSTEM


def _told(error: Exception) -> str:
    hint = getattr(error, "hint", "")
    return f"{error}. {hint}" if hint else str(error)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="conclave-appliance", description="Encrypted disks of the box."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, told in (
        ("run", _run, "follow devices and carry out orders, until SIGTERM"),
        ("key", _key, "print the public key for [disks] appliance_key, making the key first"),
        ("check", _check, "see whether configuration, key, host and service are as they should be"),
    ):
        one = commands.add_parser(name, help=told, description=told)
        one.add_argument("--config", type=Path, default=DEFAULT_PATH, help="appliance.toml")
        one.set_defaults(command=command)
    return parser.parse_args(arguments)


def _run(settings: Settings) -> int:
    if not harden():
        _LOG.warning("memory is not locked: turn swap off, or allow it (LimitMEMLOCK)")
    link = _link(settings)
    _make_folders(settings)
    reports = Reports(link)
    doer = Doer(lambda cancel, told: _bench(settings, link, cancel, told), reports)
    daemon = Daemon(link.disks, doer, reports, Notifier())
    _stop_on_signals(daemon)
    hotplug, watch = Hotplug(settings), OrderWatch(link, daemon.tell)
    hotplug.start(daemon.tell)
    watch.start()
    daemon.run(lambda: hotplug.alive() and watch.alive())
    watch.stop()
    hotplug.stop()
    return _OK


def _key(settings: Settings) -> int:
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = load_key(settings.key) if settings.key.exists() else make_key(settings.key)
    sys.stdout.write(f"{public_text(key)}\n")
    return _OK


def _check(settings: Settings) -> int:
    link = _link(settings)
    _make_folders(settings)
    found = link.disks()
    check_device_mapper()
    for program in _PROGRAMS:
        find_program(program)
    if areas := swap_areas():
        raise ConfigurationError(f"the machine swaps to {', '.join(areas)}", hint="swapoff -a")
    told = f"{len(found.disks)} disks, {len(found.devices)} devices; all is as it should be\n"
    sys.stdout.write(told)
    return _OK


def _make_folders(settings: Settings) -> None:
    for folder, mode in (
        (settings.state, 0o700),
        (settings.run, 0o700),
        (settings.mount_root, 0o755),
    ):
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(mode)
    if not lies_in_memory(settings.run):
        raise ConfigurationError(
            f"{settings.run} is not in memory", hint="name a folder on a tmpfs, below /run"
        )


def _link(settings: Settings) -> Link:
    def connect() -> Client:
        return Client.over_socket(settings.api_socket, timeout=_ANSWER_SECONDS)

    key, root = load_key(settings.key), _root(settings.site_root)
    return Link(connect, key, settings.site, root, Seen(settings.state / "seen"))


def _root(path: Path) -> EllipticCurvePublicKey:
    try:
        root = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is no public key (PEM)") from error
    if not isinstance(root, EllipticCurvePublicKey):
        raise ConfigurationError(f"{path} is no site root: those are elliptic-curve keys")
    return root


def _bench(
    settings: Settings, link: Link, cancel: Event, told: Callable[[int, str], None]
) -> Bench:
    programs = Programs(cancel, dm_udev=settings.dm_udev)
    return Bench(
        programs=programs,
        link=link,
        luks=Luks(programs),
        systems=FileSystems(programs),
        mounts=Mounts(programs, settings.mount_root),
        backups=HeaderBackups(settings.state / "headers"),
        run=settings.run,
        told=told,
    )


def _stop_on_signals(daemon: Daemon) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        daemon.tell(Stop())

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


if __name__ == "__main__":
    sys.exit(main())
