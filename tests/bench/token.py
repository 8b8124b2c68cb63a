"""A throwaway token with what a space's token holds, for the raw loop alone.

The recipients' private halves are thrown away: nothing here is ever opened.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric import rsa
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from tests.faults.softhsm import MODULE, SoftToken, init_token

LABEL = "bench"
SERVER = "bench"
_RECIPIENTS = {"vault/1/trusted": 3072, "vault/1/roster": 3072, "escrow/1": 4096}


def make_token(directory: Path) -> SoftToken:
    """Make the token, in a process of its own that takes the PKCS#11 module with it."""
    token = init_token(directory, LABEL)
    command = [sys.executable, "-m", "tests.bench.token", token.so_pin, token.pin]
    subprocess.run(command, env=os.environ | token.environment(), check=True)
    return token


def _fill(so_pin: str, pin: str) -> None:
    token = pkcs11.lib(str(MODULE)).get_token(token_label=LABEL)
    with token.open(rw=True, so_pin=so_pin) as session:
        for label, bits in (_RECIPIENTS | {f"server/{SERVER}": 3072}).items():
            session.create_object(_trusted(label, bits))
    with token.open(rw=True, user_pin=pin) as session:
        _make_signing_keys(session)


def _trusted(label: str, bits: int) -> dict[Attribute, Any]:
    numbers = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    return {
        Attribute.CLASS: ObjectClass.PUBLIC_KEY,
        Attribute.KEY_TYPE: KeyType.RSA,
        Attribute.TOKEN: True,
        Attribute.PRIVATE: False,
        Attribute.TRUSTED: True,
        Attribute.LABEL: label,
        Attribute.MODULUS: numbers.n.to_bytes(bits // 8, "big"),
        Attribute.PUBLIC_EXPONENT: numbers.e.to_bytes(3, "big"),
        Attribute.WRAP: True,
        Attribute.ENCRYPT: False,
        Attribute.VERIFY: False,
    }


def _make_signing_keys(session: Any) -> None:
    curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
    session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(
        label="manifest/1", store=True, capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY
    )
    session.generate_key(
        KeyType.GENERIC_SECRET,
        256,
        label="row-mac/1",
        store=True,
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
    )


if __name__ == "__main__":
    _fill(*sys.argv[1:])
