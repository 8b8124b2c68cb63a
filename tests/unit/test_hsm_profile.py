"""HSM profiles: strict files."""

import re
from pathlib import Path

import pytest

from kms.errors import ProfileError
from kms.hsm.faults import Action, Faults
from kms.hsm.profile import load_profile
from kms.practice.site import PROFILE


def altered(tmp_path: Path, pattern: str, text: str) -> Path:
    path = tmp_path / "profile.toml"
    changed, count = re.subn(pattern, text, PROFILE.read_text(), count=1)
    assert count == 1
    path.write_text(changed)
    return path


def test_softhsm_is_described_as_it_was_seen():
    profile = load_profile(PROFILE)
    assert (profile.verified, profile.wrapping) == ("real", "wrap-oaep")
    assert profile.wrap_alg == "RSA-OAEP"
    assert profile.known_answers.digest_of_sensitive_key is True
    assert "never for production" in profile.certification


def test_sha256_is_named_in_the_algorithm(tmp_path: Path):
    path = altered(tmp_path, 'oaep_hash = "sha1"', 'oaep_hash = "sha256"')
    assert load_profile(path).wrap_alg == "RSA-OAEP-256"


@pytest.mark.parametrize(
    ("pattern", "text", "named"),
    [
        ('name = "softhsm"', 'name = "softhsm"\npin_value = "1234"', "pin_value"),
        ("min_length = 4", "min_length = 4\ncolour = 2", "colour"),
        ("min_length = 4", 'min_length = "4"', "min_length"),
        ("min_length = 4", "", "min_length"),
        ('oaep_hash = "sha1"', 'oaep_hash = "md5"', "md5"),
        ('wrapping = "wrap-oaep"', 'wrapping = "hope"', "hope"),
        ('verified = "real"', 'verified = "maybe"', "maybe"),
        ("cmac_agrees = true", "", "cmac_agrees"),
        (r"\[match\]", "[match", r"profile\.toml"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(
    tmp_path: Path, pattern: str, text: str, named: str
):
    with pytest.raises(ProfileError, match=named):
        load_profile(altered(tmp_path, pattern, text))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ProfileError, match=r"none\.toml"):
        load_profile(tmp_path / "none.toml")


def test_a_missing_module_says_what_to_do(tmp_path: Path):
    path = altered(tmp_path, r"(?s)modules = \[.*?\]", 'modules = ["/nowhere/lib.so"]')
    with pytest.raises(ProfileError) as caught:
        assert load_profile(path).module
    assert caught.value.hint


def test_an_unknown_error_code_is_refused(tmp_path: Path):
    profile = load_profile(altered(tmp_path, "CKR_HOST_MEMORY", "CKR_HOST_MOMERY"))
    with pytest.raises(ProfileError, match="CKR_HOST_MOMERY"):
        Faults(profile.errors)


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("DeviceError", Action.FATAL),
        ("TokenNotRecognised", Action.FATAL),
        ("SessionHandleInvalid", Action.RELOGIN),
        ("HostMemory", Action.RETRY),
        ("KeyNotWrappable", Action.FAIL),
    ],
)
def test_an_error_gets_the_action_of_the_profile(name: str, action: Action):
    from pkcs11 import exceptions

    fault = Faults(load_profile(PROFILE).errors).translate(getattr(exceptions, name)("detail"))
    assert fault.action is action
    assert "detail" not in fault.message
