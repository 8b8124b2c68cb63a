"""What the section [assertion] may say."""

from pathlib import Path

import pytest

from kms.errors import ConfigurationError
from kms.settings import Assertion, load

SITE = """
[site]
id = "hq.bank.example"
[hsm]
profile = "softhsm.toml"
[[hsm.tokens]]
label = "site"
"""
SERVICE = 'issuer = "https://who.bank.example"\naudience = "hq"\nkey = "who.pem"\n'
MEET = 'rp_id = "bank.example"\norigins = ["https://meet.bank.example", "https://bank.example:8"]\n'
BOARD = """
[board]
origin = "https://meet.bank.example"
certificate = "board.pem"
key = "board.key"
"""


def loaded(folder: Path, service: str, passkeys: str = "", more: str = "") -> Assertion | None:
    path = folder / "conclave.toml"
    rules = f"[assertion.webauthn]\n{passkeys}" if passkeys else ""
    path.write_text(f"{SITE}[assertion]\n{service}{rules}{more}")
    return load(path).assertion


def test_a_service_or_passkeys_or_both(tmp_path: Path) -> None:
    both = loaded(tmp_path, SERVICE, MEET)
    assert both is not None
    assert both.webauthn is not None
    assert both.webauthn.maximum_age_seconds == 60
    by_service = loaded(tmp_path, SERVICE)
    assert by_service is not None
    assert by_service.webauthn is None
    alone = loaded(tmp_path, "", MEET)
    assert alone is not None
    assert alone.key is None
    local = 'rp_id = "localhost"\norigins = ["http://localhost:8080"]\nmaximum_age_seconds = 600\n'
    assert loaded(tmp_path, "", local) is not None


WRONG = {
    "nothing": ("", "", ""),
    "half a service": ('issuer = "x"\n', MEET, ""),
    "a service without a key": ('issuer = "x"\naudience = "y"\n', "", ""),
    "no origin": ("", 'rp_id = "bank.example"\norigins = []\n', ""),
    "no relying party": ("", 'origins = ["https://bank.example"]\n', ""),
    "http": ("", 'rp_id = "bank.example"\norigins = ["http://bank.example"]\n', ""),
    "another's origin": (
        "",
        'rp_id = "bank.example"\norigins = ["https://evilbank.example"]\n',
        "",
    ),
    "a path": ("", 'rp_id = "bank.example"\norigins = ["https://bank.example/"]\n', ""),
    "too old": ("", f"{MEET}maximum_age_seconds = 601\n", ""),
    "an unknown key": ("", f"{MEET}user_verification = false\n", ""),
    "the board's origin": ("", MEET, BOARD),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_lets_in_more_than_it_says_is_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ConfigurationError):
        loaded(tmp_path, *WRONG[wrong])
