"""The appliance's configuration, its key, and what it tells systemd."""

import os
import socket
from pathlib import Path

import pytest

from appliance.main import main
from appliance.own_key import CREDENTIAL, load_key, make_key, public_text
from appliance.settings import load
from appliance.systemd import Notifier, credential
from kms.errors import AlreadyExists, ConfigurationError, StateNotAllowed, Unavailable
from kms.statements.diskkeys import load_appliance_key

LEAST = 'site = "bank"\nsite_root = "/etc/conclave/site-root-1.pem"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "appliance.toml"
    path.write_text(text)
    return path


def test_the_least_configuration_follows_the_machines_devices(tmp_path: Path) -> None:
    settings = load(written(tmp_path, LEAST))
    assert settings.udev
    assert settings.image_directory is None
    assert str(settings.mount_root) == "/srv/conclave"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('pin = "1234"', "unknown field"),
        ("udev = 1", "Expected `bool`"),
        ('state = "var/lib"', "absolute"),
        ('mount_root = "/srv/../etc"', "absolute"),
        ("udev = false", "nothing to follow"),
        ('log_level = "debug"', "Invalid enum"),
        ("udev =", "appliance.toml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(written(tmp_path, f"{LEAST}{line}\n"))
    assert told in caught.value.message


def test_a_missing_file_is_told_with_the_way_to_name_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "none.toml")
    assert "--config" in caught.value.hint


# --- the key --------------------------------------------------------------------------------------


def test_the_key_is_made_once_and_printed_for_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    config = str(written(tmp_path, f'{LEAST}state = "{state}"\n'))
    assert main(["key", "--config", config]) == 0
    assert main(["key", "--config", config]) == 0
    first, second = capsys.readouterr().out.split()
    assert first == second
    load_appliance_key(first)
    assert (state / "key").stat().st_mode & 0o777 == 0o600


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    with pytest.raises(AlreadyExists):
        make_key(tmp_path / "key")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(ConfigurationError, match="others may read"):
        load_key(tmp_path / "key")


@pytest.mark.parametrize("content", [b"", b"AAAA", b"not a key!", b"\xff"])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").touch(0o600)
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigurationError):
        load_key(tmp_path / "key")


def test_systemds_credential_comes_before_the_file(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    key = make_key(tmp_path / CREDENTIAL)
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert public_text(load_key(tmp_path / "key", environment)) == public_text(key)
    assert credential("other", environment) is None
    assert credential(CREDENTIAL, {}) is None


def test_without_a_key_the_daemon_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(written(tmp_path, f'{LEAST}state = "{tmp_path}"\n'))
    assert main(["check", "--config", config]) == 78
    assert "conclave-appliance key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(24, "Too many open files"), 71),
        (StateNotAllowed("not now"), 71),
        (Unavailable("kms is away"), 69),
        (ConfigurationError("a field", hint="name it"), 78),
    ],
)
def test_only_after_a_fault_of_its_configuration_is_the_daemon_not_started_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("appliance.main.harden", fail)
    assert main(["run", "--config", str(written(tmp_path, LEAST))]) == code
    said = capsys.readouterr().err
    assert ("a field. name it" in said) == (code == 78)


def test_a_site_root_that_is_missing_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    text = f'site = "bank"\nsite_root = "{tmp_path}/none.pem"\nstate = "{tmp_path}"\n'
    assert main(["check", "--config", str(written(tmp_path, text))]) == 78


# --- systemd --------------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, abstract: bool) -> None:
    name = f"conclave-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("\0" + name if abstract else name)
        notifier = Notifier({"NOTIFY_SOCKET": ("@" + name) if abstract else name})
        notifier.ready("3 devices\nREADY=0")
        notifier.alive()
        notifier.stopping()
        told = [ear.recv(200) for _ in range(3)]
    assert told == [b"READY=1\nSTATUS=3 devices READY=0", b"WATCHDOG=1", b"STOPPING=1"]


def test_without_systemd_nobody_is_told() -> None:
    notifier = Notifier({})
    notifier.ready("3 devices")
    assert notifier.watchdog == 0.0


def test_the_watchdog_is_fed_at_half_of_its_time() -> None:
    assert Notifier({"WATCHDOG_USEC": "60000000"}).watchdog == 30.0
    assert Notifier({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}).watchdog == 0.0
