"""conclave disk, over a FAKE client: what is shown, what is ordered, what is asked for."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from kms.cli import disk, disk_following, disk_requests
from kms.cli.disk_view import find_disk, note_target, size
from kms.cli.exits import Exit
from kms.cli.output import Output
from kms.domain.disks import DiskState, OrderKind, OrderState, Work
from kms.errors import InvalidInput, NotFound
from kms.statements.recovered import RecoveredDisk, encode_recovered_disk
from kms.wire.disks import DeviceOut, DiskList, DiskOut, MountOut, OrderOut, OrderPage
from tests.fixtures.cli import Cli, Ended
from tests.unit.test_cli_conventions import terminal

LEDGER = "01930000-0000-7000-8000-00000000000a"
OLD = "01930000-0000-7000-8000-00000000000b"
ORDER = "01930000-0000-7000-8000-00000000000c"
THEN, LATER = "2027-01-15T08:00:00Z", "2099-01-15T08:00:00Z"
WHO = ("--person", "li-treasury", "--reason", "more room", "--key", "key.pem")


def disk_out(**changes: Any) -> DiskOut:
    fields: dict[str, Any] = {
        "disk": LEDGER, "space": "treasury", "serial": "WD-1", "size": 64 << 20, "label": "ledger",
        "mount": MountOut(name="ledger"), "work": Work.NONE, "committed": True,
        "state": DiskState.MOUNTED, "mounted": "/srv/conclave/ledger", "seen": THEN,
        "header": "h" * 42 + "A", "kek": 3, "volume": 1, "generation": 2, "enrolled": THEN,
        "key_made": THEN, "tested": THEN, "recovery_due": LATER, "replaces": None, "erased": None,
    }  # fmt: skip
    return DiskOut(**{**fields, **changes})


def device_out(**changes: Any) -> DeviceOut:
    fields: dict[str, Any] = {
        "serial": "WD-1", "node": "/dev/vdb", "size": 64 << 20, "model": "", "changed": THEN,
        "content": "crypto_LUKS", "state": DiskState.MOUNTED, "disk": LEDGER,
    }  # fmt: skip
    return DeviceOut(**{**fields, **changes})


def order_out(**changes: Any) -> OrderOut:
    fields: dict[str, Any] = {
        "order": ORDER, "kind": OrderKind.LOCK, "serial": "WD-1", "disk": LEDGER,
        "space": "treasury", "principal": "tester", "created": THEN, "state": OrderState.WAITING,
        "dry_run": False, "progress": 0, "code": "", "message": "", "ended": None,
    }  # fmt: skip
    return OrderOut(**{**fields, **changes})


@dataclass
class FakeClient:
    """Answers from what it holds; each look at an order gives the next of its states."""

    known: tuple[DiskOut, ...] = (disk_out(),)
    seen: tuple[DeviceOut, ...] = (device_out(),)
    unknown: tuple[str, ...] = ()
    states: list[OrderOut] = field(default_factory=lambda: [order_out(state=OrderState.DONE)])
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def disks(self) -> DiskList:
        return DiskList(disks=self.known, devices=self.seen, unknown=self.unknown)

    def spaces(self) -> Any:
        return SimpleNamespace(items=[SimpleNamespace(space="treasury")])

    def disk(self, disk: str) -> DiskOut:
        return next(one for one in self.known if one.disk == disk)

    def change_disk(self, disk: str, label: str | None, mount: MountOut | None) -> DiskOut:
        self.asked.append(("change", disk, label, mount))
        return disk_out(label=label or "ledger")

    def rotate_kek(self, disk: str) -> DiskOut:
        self.asked.append(("kek", disk))
        return disk_out(kek=4)

    def place_order(
        self, kind: OrderKind, serial: str, *, dry_run: bool, sealed_key: str | None
    ) -> OrderOut:
        self.asked.append((kind.value, serial, dry_run, sealed_key))
        return order_out(kind=kind, serial=serial, dry_run=dry_run)

    def order(self, order: str) -> OrderOut:
        assert order == ORDER
        return self.states.pop(0)

    def order_pages(self, disk: str | None = None) -> Iterator[OrderPage]:
        self.asked.append(("orders", disk))
        yield OrderPage(items=(order_out(), order_out(state=OrderState.DONE)))
        yield OrderPage(items=(order_out(),))


Serve = Callable[[FakeClient], FakeClient]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """A function that has command lines reach a fake client."""
    monkeypatch.setattr(disk_following, "_LOOK_SECONDS", 0.0)

    def one(client: FakeClient) -> FakeClient:
        monkeypatch.setattr("kms.cli.connect.connect", lambda _options, _places: client)
        return client

    return one


def result(ended: Ended) -> Any:
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


# --- what is shown --------------------------------------------------------------------------------


def test_the_list_shows_disks_once_and_other_devices_behind_them(cli: Cli, serve: Serve) -> None:
    stranger = device_out(
        serial="X-9", disk=None, state=DiskState.UNKNOWN, content="ntfs", size=(64 << 20) + 512
    )
    serve(FakeClient(seen=(device_out(), stranger)))
    ended = cli("disk", "list")
    assert ended.code == Exit.OK
    lines = [line.split("\t") for line in ended.out.splitlines()]
    assert [line[2] for line in lines] == ["Serial", "WD-1", "X-9"]
    assert lines[1][3:7] == ["64 MiB", "mounted", "-", "/srv/conclave/ledger"]
    assert lines[2][0] == "-"
    assert "ntfs" in lines[2]
    assert {one["serial"] for one in result(cli("disk", "list", "--json"))["devices"]} == {
        "WD-1", "X-9",
    }  # fmt: skip


@pytest.mark.parametrize(
    "client",
    [
        FakeClient(seen=(device_out(state=DiskState.QUARANTINED, code="header_cipher"),)),
        FakeClient(known=(disk_out(recovery_due=THEN.replace("2027", "2020")),)),
        FakeClient(unknown=("banking",)),
    ],
)
def test_what_people_have_to_look_at_ends_the_list_with_3(
    cli: Cli, serve: Serve, client: FakeClient
) -> None:
    serve(client)
    assert cli("disk", "list").code == Exit.ATTENTION


def test_a_space_whose_disks_are_not_listed_is_named(cli: Cli, serve: Serve) -> None:
    serve(FakeClient(unknown=("banking",)))
    assert "UNKNOWN: the disks of banking" in cli("disk", "list").err


def test_an_erased_disk_is_called_so_and_an_open_one_does_not_look_like_a_meeting(
    cli: Cli, serve: Serve
) -> None:
    erased = disk_out(disk=OLD, erased=THEN, work=Work.ERASE, state=None, recovery_due=None)
    serve(FakeClient(known=(disk_out(state=DiskState.OPEN), erased)))
    states = [line.split("\t")[4] for line in cli("disk", "list").out.splitlines()[1:]]
    assert states == ["open, not mounted", "erased"]
    assert "进行中" not in cli("disk", "list", "--lang", "zh").out


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 bytes"), (1000, "1000 bytes"), (1024, "1 KiB"), (3 << 40, "3 TiB"),
     (1 << 60, "1048576 TiB")],
)  # fmt: skip
def test_a_size_is_exact(count: int, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize("name", [LEDGER, "WD-1", "ledger"])
def test_a_disk_is_found_by_id_serial_and_label(cli: Cli, serve: Serve, name: str) -> None:
    serve(FakeClient())
    assert result(cli("disk", "show", name, "--json"))["disk"] == LEDGER


def test_what_the_list_names_is_shown(cli: Cli, serve: Serve) -> None:
    """Also disks that are erased, the last of that serial number, and devices that are no disks."""
    gone = disk_out(disk=OLD, serial="WD-0", label="old", erased=THEN)
    older = disk_out(disk=ORDER, serial="WD-0", label="old", erased=THEN.replace("2027", "2026"))
    stranger = device_out(serial="X-9", disk=None, state=DiskState.QUARANTINED, content="ntfs")
    serve(FakeClient(known=(disk_out(), older, gone), seen=(device_out(), stranger)))
    for name in ("WD-0", "old"):
        assert result(cli("disk", "show", name, "--json"))["disk"] == OLD
    shown = result(cli("disk", "show", "X-9", "--json"))
    assert (shown["serial"], shown["state"]) == ("X-9", "quarantined")
    assert "ntfs" in cli("disk", "show", "X-9").out
    assert cli("disk", "show", "other").code == Exit.NOT_FOUND


def test_who_signs_or_carries_out_an_erasure_sees_which_disk_it_is() -> None:
    client: Any = FakeClient()
    told: list[str] = []
    output: Any = SimpleNamespace(to_sign=told.append)
    wanted: Any = SimpleNamespace(operation="disk.erase", parameters={"disk": LEDGER})
    note_target(output, client, wanted)
    assert all(name in told[1] for name in ("ledger", "WD-1"))

    def refuse(_disk: str) -> None:
        raise NotFound("no such thing")

    client.disk = refuse
    note_target(output, client, wanted)
    assert "no such thing" in told[2]
    note_target(output, client, SimpleNamespace(operation="vault.retire"))
    assert len(told) == 3


def test_a_name_for_two_disks_or_none_is_refused_and_an_erased_disk_is_named_by_id() -> None:
    erased = disk_out(disk=OLD, erased=THEN)
    both: Any = FakeClient(known=(disk_out(), disk_out(disk=OLD, space="banking")))
    with pytest.raises(InvalidInput, match="several") as refused:
        find_disk(both, "ledger")
    assert LEDGER in refused.value.hint
    assert OLD in refused.value.hint
    one: Any = FakeClient(known=(erased, disk_out()))
    assert find_disk(one, "ledger").disk == LEDGER
    assert find_disk(one, OLD).erased == THEN
    with pytest.raises(NotFound):
        find_disk(one, "other")


def test_watching_shows_only_what_has_changed(
    cli: Cli, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = iter([(disk_out(),), (disk_out(),), (disk_out(state=DiskState.LOCKED),)])
    client = serve(FakeClient())

    def look() -> DiskList:
        try:
            return DiskList(disks=next(pages), devices=())
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(client, "disks", look)
    monkeypatch.setattr(disk, "_LOOK_SECONDS", 0.0)
    ended = cli("disk", "watch")
    assert ended.code == Exit.INTERRUPTED
    assert ended.out.count("WD-1") == 2


# --- orders ---------------------------------------------------------------------------------------

ORDERS = [
    (("unlock", "ledger"), "unlock"),
    (("lock", "ledger"), "lock"),
    (("rotate", "ledger", "--level", "slot"), "rotate-slot"),
    (("rotate", "ledger", "--level", "volume"), "rotate-volume"),
    (("verify-recovery", "ledger"), "verify-recovery"),
    (("quarantine", "ledger"), "quarantine"),
    (("release", "ledger"), "release"),
    (("header-backup", "ledger"), "back-up-header"),
    (("header-restore", "ledger"), "restore-header"),
]


@pytest.mark.parametrize(("line", "kind"), ORDERS)
@pytest.mark.parametrize("dry_run", [False, True])
def test_an_order_is_placed_and_followed_to_its_end(
    cli: Cli, serve: Serve, line: tuple[str, ...], kind: str, dry_run: bool
) -> None:
    running = order_out(state=OrderState.RUNNING, progress=40)
    done = order_out(state=OrderState.DONE, dry_run=dry_run, message="would close it")
    client = serve(FakeClient(states=[running, done]))
    ended = cli("disk", *line, *(("--dry-run",) if dry_run else ()))
    assert ended.code == Exit.OK
    assert client.asked == [(kind, "WD-1", dry_run, None)]
    assert client.states == []
    assert (ended.out == "would close it\n") is dry_run


def test_an_order_that_failed_says_why_and_what_to_do(cli: Cli, serve: Serve) -> None:
    failed = order_out(state=OrderState.FAILED, code="no_device_mapper", message="no dm here")
    serve(FakeClient(states=[failed]))
    ended = cli("disk", "unlock", "ledger")
    assert ended.code == Exit.LATER
    assert "[no_device_mapper] no dm here" in ended.err
    assert "load dm-crypt" in ended.err
    assert not ended.out


def test_an_order_need_not_be_waited_for(cli: Cli, serve: Serve) -> None:
    client = serve(FakeClient(states=[]))
    ended = cli("disk", "lock", "WD-1", "--no-wait")
    assert ended.code == Exit.OK
    assert f"conclave disk follow {ORDER}" in ended.err
    assert client.asked == [("lock", "WD-1", False, None)]


def test_who_stops_waiting_is_told_that_the_order_goes_on(
    cli: Cli, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(FakeClient())

    def interrupted(_order: str) -> OrderOut:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "order", interrupted)
    ended = cli("disk", "lock", "ledger")
    assert ended.code == Exit.INTERRUPTED
    assert f"conclave disk follow {ORDER}" in ended.err


def test_nobody_waits_for_an_appliance_that_is_not_there_without_being_told(
    cli: Cli, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_following, "_SOON", 0.0)
    serve(FakeClient(states=[order_out(), order_out(), order_out(state=OrderState.DONE)]))
    ended = cli("disk", "follow", ORDER)
    assert ended.code == Exit.OK
    assert ended.err.count("Does conclave-appliance run there?") == 1


def test_progress_is_a_bar_on_a_terminal_and_what_it_says_cannot_steer_that(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(80, monkeypatch)
    monkeypatch.setenv("TERM", "xterm")
    with Output().bar("lock WD-1") as tell:
        tell(40, "\x1b[2Jcopying\u202e [bold]files[/]")
    shown = capsys.readouterr()
    assert "40%" in shown.err
    assert "[bold]files[/]" in shown.err
    assert "\x1b[2J" not in shown.err
    assert "\u202e" not in shown.err
    assert shown.out == ""


def test_a_device_that_is_no_disk_can_be_quarantined_but_not_unlocked(
    cli: Cli, serve: Serve
) -> None:
    client = serve(FakeClient(seen=(device_out(serial="X-9", disk=None),)))
    assert cli("disk", "quarantine", "X-9").code == Exit.OK
    assert client.asked == [("quarantine", "X-9", False, None)]
    assert cli("disk", "unlock", "X-9").code == Exit.NOT_FOUND


def test_a_kek_is_rotated_without_the_appliance(cli: Cli, serve: Serve) -> None:
    client = serve(FakeClient())
    assert result(cli("disk", "rotate", "ledger", "--level", "kek", "--json"))["kek"] == 4
    assert client.asked == [("kek", LEDGER)]
    ended = cli("disk", "rotate", "ledger", "--level", "kek", "--dry-run")
    assert "by KEK version 4" in ended.err
    assert client.asked == [("kek", LEDGER)]


def test_a_recovered_key_goes_to_its_own_disk_alone(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "disk.json"
    found = RecoveredDisk(
        ceremony="c", space="treasury", disk=LEDGER, generation=2, appliance="a" * 43,
        sealed="c2VhbGVk",
    )  # fmt: skip
    file.write_bytes(encode_recovered_disk(found) + b"\n")
    client = serve(FakeClient(known=(disk_out(), disk_out(disk=OLD, serial="WD-0", label="old"))))
    assert cli("disk", "recover", "ledger", "--file", file).code == Exit.OK
    assert client.asked == [("recover", "WD-1", False, "c2VhbGVk")]
    ended = cli("disk", "recover", "old", "--file", file)
    assert ended.code == Exit.INVALID
    assert "another disk" in ended.err
    assert len(client.asked) == 1


def test_orders_are_listed_newest_first_and_no_more_than_asked_for(cli: Cli, serve: Serve) -> None:
    client = serve(FakeClient())
    assert len(result(cli("disk", "orders", "--last", "2", "--json"))["items"]) == 2
    assert len(result(cli("disk", "orders", "--disk", "ledger", "--json"))["items"]) == 3
    assert client.asked == [("orders", None), ("orders", LEDGER)]


# --- changes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "label", "mount"),
    [
        (("--label", "books"), "books", None),
        (("--mount", "books"), None, MountOut(name="books")),
        (("--no-mount",), None, MountOut()),
        (("--by-hand", "--read-only"), None,
         MountOut(name="ledger", automatic=False, read_only=True)),
        (("--label", "books", "--read-write"), "books", None),
    ],
)  # fmt: skip
def test_a_change_names_what_changes_and_keeps_the_rest(
    cli: Cli, serve: Serve, options: tuple[str, ...], label: str | None, mount: MountOut | None
) -> None:
    client = serve(FakeClient())
    assert cli("disk", "change", "ledger", *options, "--dry-run").code == Exit.OK
    assert client.asked == []
    assert cli("disk", "change", "ledger", *options).code == Exit.OK
    assert client.asked == [("change", LEDGER, label, mount)]


@pytest.mark.parametrize(
    "options",
    [(), ("--automatic",), ("--label", "No/Name"), ("--mount", "../etc"),
     ("--mount", "a", "--no-mount"), ("--label", "")],
)  # fmt: skip
def test_a_change_that_is_none_or_names_a_path_is_refused(
    cli: Cli, serve: Serve, options: tuple[str, ...]
) -> None:
    client = serve(FakeClient())
    assert cli("disk", "change", "ledger", *options).code == Exit.INVALID
    assert client.asked == []


# --- what several people approve ------------------------------------------------------------------

FRESH = device_out(serial="X-9", disk=None, state=DiskState.UNKNOWN, content="")


@pytest.fixture
def handed_in(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is handed in, instead of being signed: operation, space, parameters."""
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(disk_requests, "hand_in", lambda *told: found.append(told[3:]))
    return found


def test_enrolling_asks_for_the_device_as_it_was_seen(
    cli: Cli, serve: Serve, handed_in: list[tuple[Any, ...]]
) -> None:
    serve(FakeClient(seen=(FRESH,)))
    line = ("disk", "enroll", "X-9", "--space", "treasury", "--label", "books", "--mount", "books")
    shown = result(cli(*line, *WHO, "--by-hand", "--json", "--dry-run"))
    assert handed_in == []
    assert cli(*line, *WHO, "--by-hand").code == Exit.OK
    (operation, space, wish), *others = handed_in
    assert not others
    assert (operation, space) == ("disk.enroll", "treasury")
    expected = {
        "serial": "X-9", "size": 64 << 20, "preparation": "format", "label": "books",
        "mount": {"name": "books", "automatic": False, "read_only": False}, "replaces": "",
        "overwrite": False,
    }  # fmt: skip
    assert {**expected, "disk": wish["disk"]} == wish
    assert {**expected, "disk": shown["disk"], "space": "treasury"} == shown
    assert shown["disk"] != wish["disk"]


@pytest.mark.parametrize(
    ("device", "options", "code"),
    [
        (FRESH, (), Exit.OK),
        (FRESH.model_copy(update={"content": "ntfs"}), (), Exit.INVALID),
        (FRESH.model_copy(update={"content": "ntfs"}), ("--overwrite",), Exit.OK),
        (FRESH.model_copy(update={"content": "ntfs"}), ("--in-place",), Exit.INVALID),
        (FRESH.model_copy(update={"content": "ext4"}), ("--in-place",), Exit.OK),
        (FRESH, ("--in-place",), Exit.INVALID),
        (FRESH.model_copy(update={"size": 1 << 20}), (), Exit.INVALID),
        (FRESH.model_copy(update={"state": DiskState.QUARANTINED}), ("--overwrite",), Exit.LATER),
        (FRESH.model_copy(update={"state": DiskState.GONE}), (), Exit.LATER),
        (FRESH.model_copy(update={"code": "device_in_use"}), ("--overwrite",), Exit.LATER),
        (FRESH.model_copy(update={"code": "released"}), (), Exit.OK),
        (FRESH.model_copy(update={"serial": "other"}), (), Exit.NOT_FOUND),
        (FRESH, ("--mount", "../etc"), Exit.INVALID),
        (FRESH, ("--space", "treasurry"), Exit.NOT_FOUND),
    ],
)
def test_a_device_that_would_lose_something_or_cannot_be_prepared_is_refused_before_signing(
    cli: Cli,
    serve: Serve,
    handed_in: list[tuple[Any, ...]],
    device: DeviceOut,
    options: tuple[str, ...],
    code: int,
) -> None:
    serve(FakeClient(known=(), seen=(device,)))
    line = ("disk", "enroll", "X-9", "--space", "treasury", "--label", "books")
    assert cli(*line, *WHO, *options).code == code
    assert len(handed_in) == (code == Exit.OK)
    assert all(wish["overwrite"] is ("--overwrite" in options) for _, _, wish in handed_in)


def test_a_replacement_is_enrolled_in_the_old_disks_space(
    cli: Cli, serve: Serve, handed_in: list[tuple[Any, ...]]
) -> None:
    serve(FakeClient(seen=(device_out(), FRESH)))
    assert cli("disk", "replace", "ledger", "X-9", "--label", "ledger-2", *WHO).code == Exit.OK
    ((operation, space, wish),) = handed_in
    assert (operation, space, wish["replaces"]) == ("disk.enroll", "treasury", LEDGER)
    assert (wish["serial"], wish["label"], wish["mount"]["name"]) == ("X-9", "ledger-2", "")


def test_erasing_asks_for_one_disk_and_says_which(
    cli: Cli, serve: Serve, handed_in: list[tuple[Any, ...]]
) -> None:
    serve(FakeClient(known=(disk_out(), disk_out(disk=OLD, erased=THEN))))
    assert cli("disk", "erase", "ledger", *WHO, "--dry-run").code == Exit.OK
    assert handed_in == []
    ended = cli("disk", "erase", "WD-1", *WHO, "--absent", "-q")
    assert ended.code == Exit.OK
    assert "To erase: ledger, serial number WD-1, mounted" in ended.err
    assert handed_in == [("disk.erase", "treasury", {"disk": LEDGER, "absent": True})]
    assert cli("disk", "erase", OLD, *WHO).code == Exit.LATER


def test_a_request_wants_a_place_of_the_credential(cli: Cli, serve: Serve) -> None:
    serve(FakeClient())
    ended = cli("disk", "erase", "ledger", "--person", "x", "--reason", "y")
    assert ended.code == Exit.INVALID
    assert "--token" in ended.err
