"""Statements of the site root in the state directory, numbered: roots, registers, key lists.

They are verified whenever they are read. Writers bear being repeated: what this ceremony has
written already is left as it is.
"""

from collections.abc import Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from kms.ceremonies.ports import Files, SigningUse
from kms.ceremonies.room import Facts, Room
from kms.domain.people import Register
from kms.errors import AlreadyExists, IntegrityFailure, NotFound
from kms.statements import archive, jws
from kms.statements import keylist as lists
from kms.statements import register as registers
from kms.statements.canonical import b64u, digest

FIRST = 1
"""Version of a token's own keys: a token keeps those that it got when it was made."""


def site_root(files: Files) -> ec.EllipticCurvePublicKey:
    """Return the newest site root; raise NotFound, IntegrityFailure."""
    return _root(files, newest(files, archive.SITE_ROOT, "site root"))


def write_site_root(files: Files, number: int, spki: bytes) -> Facts:
    """Write a site root (SPKI, DER) as PEM; the facts name it, and transcripts are verified by
    that.
    """
    key = _p256(load_der_public_key(spki))
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    facts = write_same(files, archive.SITE_ROOT.format(number), pem)
    return {"site_root": jws.spki_id(key), **facts}


def current_register(files: Files) -> tuple[Register, str]:
    """Return the present register and its JWS; raise NotFound, VerificationFailed."""
    token = _read_text(files, archive.REGISTER, "register of people")
    return registers.verify_register(token, site_root(files)), token


def register_of(files: Files, wanted: str) -> tuple[Register, str]:
    """Return the register whose JWS has this digest: the one that a ceremony began with."""
    for number in range(archive.newest(files.names(), archive.REGISTER), 0, -1):
        token = files.read(archive.REGISTER.format(number)).decode("ascii")
        if digest(token.encode()) == wanted:
            return registers.verify_register(token, _root_of(files, token, registers.TYP)), token
    raise NotFound("no register of people has the digest that the ceremony began with")


def _root_of(files: Files, token: str, typ: str) -> ec.EllipticCurvePublicKey:
    """Return the site's root that signed a statement: a restored site has a new one."""
    for number in range(archive.newest(files.names(), archive.SITE_ROOT), 0, -1):
        root = _root(files, number)
        if jws.spki_id(root) == jws.key_id(token, typ=typ):
            return root
    raise NotFound("no site root of this site signed the statement")


def write_register(room: Room, register: Register) -> Facts:
    """Let the site root sign a register and write it as the next one, unless this ceremony's is
    there.
    """
    number = archive.newest(room.files.names(), archive.REGISTER)
    name = archive.REGISTER.format(number)
    if not number or _ceremony_of(room.files, name) != register.ceremony:
        name = archive.REGISTER.format(number + 1)
        payload = registers.encode_register(register)
        token = _sign(room, payload, registers.TYP)
        registers.verify_register(token, site_root(room.files))
        room.files.write_new(name, token.encode("ascii"))
    return {**file_facts(room.files, name), "version": current_register(room.files)[0].version}


def _ceremony_of(files: Files, name: str) -> str:
    """Return which ceremony made a register; a restored site has yet the one of its old root."""
    token = files.read(name).decode("ascii")
    return registers.verify_register(token, _root_of(files, token, registers.TYP)).ceremony


def key_list(files: Files) -> lists.KeyList:
    """Return the present key list; raise NotFound, VerificationFailed."""
    return lists.verify_keylist(_read_text(files, archive.KEY_LIST, "key list"), site_root(files))


def last_key_list(files: Files) -> lists.KeyList:
    """Return the newest key list by whichever root of this site signed it; a restored site has yet
    the one of its old root. Raise NotFound, VerificationFailed.
    """
    token = _read_text(files, archive.KEY_LIST, "key list")
    return lists.verify_keylist(token, _root_of(files, token, lists.TYP))


def listed(use: lists.KeyUse, spki: bytes, not_before: int, space: str = "") -> lists.ListedKey:
    """Return a key's entry in the key list; ``not_before`` in whole seconds."""
    return lists.ListedKey(digest(spki), use, space, b64u(spki), not_before)


def write_key_list(room: Room, keys: Sequence[lists.ListedKey]) -> Facts:
    """Let the site root sign a list of exactly these keys and write it as the next one, unless the
    newest list, by the newest root, has the same keys.
    """
    number = archive.newest(room.files.names(), archive.KEY_LIST)
    name = archive.KEY_LIST.format(number)
    if not number or not _lists(room, room.files.read(name).decode("ascii"), keys):
        name = archive.KEY_LIST.format(number + 1)
        new = lists.KeyList(room.brief.site.site, number + 1, room.now(), tuple(keys))
        token = _sign(room, lists.encode_keylist(new), lists.TYP)
        lists.verify_keylist(token, site_root(room.files))
        room.files.write_new(name, token.encode("ascii"))
    return {**file_facts(room.files, name), "version": key_list(room.files).version}


def _lists(room: Room, token: str, keys: Sequence[lists.ListedKey]) -> bool:
    root = site_root(room.files)
    if jws.key_id(token, typ=lists.TYP) != jws.spki_id(root):
        return False
    old = lists.verify_keylist(token, root).keys
    return {(key.kid, key.use, key.space) for key in old} == {
        (key.kid, key.use, key.space) for key in keys
    }


def _sign(room: Room, payload: bytes, typ: str) -> str:
    token = room.tokens(room.brief.site.token())
    kid = jws.spki_id(site_root(room.files))

    def signer(value: bytes) -> bytes:
        return token.sign(SigningUse.SITE_ROOT, FIRST, value)

    return jws.sign(payload, typ=typ, kid=kid, signer=signer)


def write_same(files: Files, name: str, data: bytes) -> Facts:
    """Create a file unless it is there with the same bytes; raise AlreadyExists for others."""
    if name not in files.names():
        files.write_new(name, data)
    elif files.read(name) != data:
        raise AlreadyExists(f"{name} is there with other contents")
    return file_facts(files, name)


def file_facts(files: Files, name: str) -> Facts:
    """Return a file's name and SHA-256 (base64url)."""
    return {"file": name, "sha256": digest(files.read(name))}


def newest(files: Files, pattern: str, what: str) -> int:
    """Return the highest number of a pattern's files; raise NotFound if there is none."""
    number = archive.newest(files.names(), pattern)
    if not number:
        raise NotFound(f"the site has no {what}", hint="hold the ceremony initialise-site first")
    return number


def _read_text(files: Files, pattern: str, what: str) -> str:
    return files.read(pattern.format(newest(files, pattern, what))).decode("ascii")


def _root(files: Files, number: int) -> ec.EllipticCurvePublicKey:
    name = archive.SITE_ROOT.format(number)
    try:
        return _p256(load_pem_public_key(files.read(name)))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IntegrityFailure(f"{name} is not a public key in PEM") from error


def _p256(key: object) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IntegrityFailure("the site root is not a key on P-256")
    return key
