"""The page about disks says of states, settings and codes what the code says."""

import ast
import re
from pathlib import Path

import msgspec

from appliance import settings
from kms.cli import disk_view
from kms.domain.disks import TRANSITIONS, DiskState
from kms.settings import load as load_kms
from tests.docs.pages import DOCS, ROOT, blocks

PAGE = (DOCS / "disks.md").read_text("utf-8")
_STATE = re.compile(
    r"^\| `([a-z]+)` \| ([^|]*) \| [^|]* \| ((?:`[a-z]+`(?:, )?)+) \|$", re.MULTILINE
)
_SETTING = re.compile(r"^\| `(\w+)` \| (?:`([^`]*)`)? ?\| ([^|]*) \|$", re.MULTILINE)
_CODE = re.compile(r'"((?:[a-z]+_)+[a-z]+|sealed|quarantined|released)", f?"')


def meanings() -> dict[str, str]:
    """The sentence below each key of the settings."""
    tree = ast.parse(Path(settings.__file__).read_text())
    (kind,) = [one for one in tree.body if getattr(one, "name", "") == "Settings"]
    found = {}
    for key, told in zip(kind.body, kind.body[1:], strict=False):
        if isinstance(key, ast.AnnAssign) and isinstance(told, ast.Expr):
            found[key.target.id] = " ".join(told.value.value.split())
    return found


def test_every_state_stands_with_where_it_goes() -> None:
    found = {
        DiskState(state): set(re.findall(r"`([a-z]+)`", targets))
        for state, _, targets in _STATE.findall(PAGE)
    }
    assert found == {state: {one.value for one in to} for state, to in TRANSITIONS.items()}


def test_every_state_stands_as_screens_call_it() -> None:
    found = {state: shown for state, shown, _ in _STATE.findall(PAGE)}
    assert found == {one.value: disk_view.state(one.value) for one in DiskState}


def test_every_setting_stands_with_its_default_and_meaning() -> None:
    table = PAGE.partition("| key | default | meaning |")[2].partition("\n\n")[0]
    found = {name: (default, told) for name, default, told in _SETTING.findall(table)}
    wanted = {}
    for field in msgspec.structs.fields(settings.Settings):
        default = field.default
        if default is msgspec.NODEFAULT or default is None:
            shown = ""
        elif isinstance(default, bool):
            shown = str(default).lower()
        else:
            shown = f'"{default}"' if isinstance(default, str) else str(default)
        wanted[field.name] = (shown, meanings()[field.name])
    assert found == wanted


def test_every_code_of_the_daemon_is_explained() -> None:
    told = set(re.findall(r"`([a-z_]+)`", PAGE.partition("| code | means | do |")[2]))
    given = {
        code
        for path in (ROOT / "appliance").rglob("*.py")
        for code in re.findall(r'^    code = "(\w+)"$', path.read_text(), re.MULTILINE)
    }
    for name in ("decide", "strangers"):
        given |= set(_CODE.findall((ROOT / f"appliance/daemon/{name}.py").read_text()))
    assert {"header_refused", "device_in_use", "foreign_disk"} <= given
    assert given - {"released", "locked"} <= told


def test_the_examples_load(tmp_path: Path) -> None:
    examples = [one.text for one in blocks(DOCS / "disks.md") if not one.language]
    (own,) = [text for text in examples if "site_root =" in text]
    (tmp_path / "appliance.toml").write_text(own)
    assert settings.load(tmp_path / "appliance.toml").udev
    (extra,) = [text for text in examples if "appliance_key =" in text]
    least = '[site]\nid = "s"\n[hsm]\nprofile = "p"\n[[hsm.tokens]]\nlabel = "site"\n'
    (tmp_path / "conclave.toml").write_text(least + extra)
    assert load_kms(tmp_path / "conclave.toml").caller[0].uid == 0
