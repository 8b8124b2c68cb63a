"""One login on one token: finds objects, keeps their handles, does single operations.

After any error the session is dropped and its handles with it; the next call opens another. The
PIN is tried once. Public objects without CKA_TRUSTED do not exist for this module: whoever holds
the user PIN can make those.
"""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Concatenate, ParamSpec, Self, TypeAlias, TypeVar

import pkcs11
from pkcs11 import MGF, Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import MultipleTokensReturned, NoSuchToken, PKCS11Error

from kms.errors import IntegrityFailure, InvalidInput, NotFound, PinError, ProfileError
from kms.hsm.attributes import Mapper, Template
from kms.hsm.cryptoki import Cryptoki
from kms.hsm.faults import Action, Faults, TokenFault
from kms.hsm.labels import Kind, Label, parse_label
from kms.hsm.profile import OaepHash, Profile
from kms.hsm.templates import UNWRAP_EPOCH
from kms.ports import TokenInfo
from kms.statements.canonical import b64u

Handle: TypeAlias = Any
"""An object on the token; python-pkcs11 builds its classes at run time, by the object's uses."""

_SHOWN = (Attribute.LABEL, Attribute.CLASS, Attribute.ID, Attribute.TRUSTED)
_PUBLIC = frozenset({ObjectClass.PUBLIC_KEY, ObjectClass.CERTIFICATE})
_OAEP = {
    OaepHash.SHA1: (Mechanism.SHA_1, MGF.SHA1, None),
    OaepHash.SHA256: (Mechanism.SHA256, MGF.SHA256, None),
}
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Login(StrEnum):
    """As whom a session is opened."""

    USER = "user"
    OFFICER = "officer"


@dataclass(frozen=True, slots=True)
class Found:
    """One of the service's objects; ``key_id`` is the SPKI's SHA-256, empty for private halves."""

    label: Label
    object_class: ObjectClass
    key_id: bytes
    trusted: bool
    handle: Handle


def _guarded(
    method: "Callable[Concatenate[Token, _P], _R]",
) -> "Callable[Concatenate[Token, _P], _R]":
    """Translate what PKCS#11 raises, and drop the session: it may be stuck in an operation."""

    @functools.wraps(method)
    def call(self: "Token", /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(self, *args, **kwargs)
        except PKCS11Error as error:
            raise self.failed(error) from error

    return call


class Token:
    """A token by its label, logged in when first used. One per token and process; no threads."""

    def __init__(
        self,
        profile: Profile,
        label: str,
        pin: str,
        *,
        login: Login = Login.USER,
        writable: bool = False,
    ) -> None:
        self.profile = profile
        self.label = label
        self._pin = pin
        self._login = login
        self._writable = writable or login is Login.OFFICER
        self._faults = Faults(profile.errors)
        self.oaep = _OAEP[profile.oaep_hash]
        self.cryptoki = Cryptoki(profile.module)
        self._session: Any = None
        self._token: Any = None
        self._objects: dict[tuple[ObjectClass, Label], list[Found]] | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def __repr__(self) -> str:
        return f"Token({self.label!r}, {self._login.value})"

    # session

    @_guarded
    def open(self) -> None:
        """Open and log in. Raise PinError, ProfileError, TokenFault (fatal: no such token)."""
        if self._session is not None:
            return
        if not self._pin:
            raise PinError("the token refused this PIN before, and one attempt is all there is")
        self._token = self._find_token()
        pin = "user_pin" if self._login is Login.USER else "so_pin"
        self._session = self._token.open(
            rw=self._writable, attribute_mapper=Mapper(), **{pin: self._pin}
        )

    def drop(self) -> None:
        """Close every session of this process on the token and forget all handles."""
        self._session = self._objects = None
        if self._token is not None:
            self.cryptoki.close_all_sessions(self._token.slot.slot_id)

    def failed(self, error: PKCS11Error) -> PinError | TokenFault:
        """Drop the session after an error of a call on it, and return the error as ours."""
        self.drop()
        fault = self._faults.translate(error)
        if isinstance(fault, PinError):
            self._pin = ""
        return fault

    @property
    def session(self) -> Any:
        """The open python-pkcs11 session."""
        if self._session is None:
            self.open()
        return self._session

    def _find_token(self) -> Any:
        library = pkcs11.lib(self.profile.module)
        version = ".".join(str(part) for part in library.library_version)
        expected = self.profile.match
        if (
            library.manufacturer_id != expected.manufacturer
            or version not in expected.library_versions
        ):
            raise ProfileError(
                f"profile {self.profile.name} does not fit the module: it is "
                f"{library.manufacturer_id} {version}"
            )
        try:
            token = library.get_token(token_label=self.label)
        except NoSuchToken as error:
            raise TokenFault(f"there is no token {self.label}", action=Action.FATAL) from error
        except MultipleTokensReturned as error:
            raise IntegrityFailure(f"more than one token is labelled {self.label}") from error
        self._check_mechanisms(token)
        return token

    def _check_mechanisms(self, token: Any) -> None:
        offered = {f"CKM_{item.name}" for item in token.slot.get_mechanisms() if _is_known(item)}
        missing = set(self.profile.mechanisms.required) - offered
        if missing:
            raise ProfileError(f"the token lacks {', '.join(sorted(missing))}")

    # objects

    @_guarded
    def objects(self) -> tuple[Found, ...]:
        """Return every object of the service on the token."""
        return tuple(item for items in self._index().values() for item in items)

    def refresh(self) -> None:
        """Forget the handles: the next look sees what officers changed meanwhile."""
        self._objects = None

    @_guarded
    def find(self, object_class: ObjectClass, label: Label) -> Found:
        """Return one object; raise NotFound, or IntegrityFailure if the label is there twice."""
        found = self._index().get((object_class, label))
        if found is None:
            self.refresh()
            found = self._index().get((object_class, label), [])
        if not found:
            raise NotFound(f"the token has no {object_class.name.lower()} {label}")
        if len(found) > 1:
            raise IntegrityFailure(f"the token has more than one {label}")
        return found[0]

    @_guarded
    def all(self, object_class: ObjectClass, kind: Kind) -> list[Found]:
        """Return the objects of one kind by number and name; raise IntegrityFailure for twins."""
        labels = {key[1] for key in self._index() if key[0] is object_class and key[1].kind is kind}
        ordered = sorted(labels, key=lambda label: (label.number, label.name))
        return [self.find(object_class, label) for label in ordered]

    @_guarded
    def trusted_key(self, key_id: bytes, *kinds: Kind) -> Found:
        """Return the TRUSTED key with that SPKI SHA-256; raise NotFound, IntegrityFailure."""
        found = self._by_id(key_id, kinds)
        if not found:
            self.refresh()
            found = self._by_id(key_id, kinds)
        if not found:
            raise NotFound("the token trusts no key of that id")
        if len(found) > 1:
            raise IntegrityFailure("the token trusts two objects of the same id")
        return found[0]

    def _by_id(self, key_id: bytes, kinds: tuple[Kind, ...]) -> list[Found]:
        return [
            item
            for item in self.objects()
            if item.trusted and item.key_id == key_id and item.label.kind in kinds
        ]

    def _index(self) -> dict[tuple[ObjectClass, Label], list[Found]]:
        if self._objects is None:
            objects: dict[tuple[ObjectClass, Label], list[Found]] = {}
            for item in self._list():
                objects.setdefault((item.object_class, item.label), []).append(item)
            self._objects = objects
        return self._objects

    def _list(self) -> Iterator[Found]:
        on_token = Template({Attribute.TOKEN: True}).packed
        for handle in list(self.session.get_objects(on_token)):
            with suppress(InvalidInput, ValueError, KeyError):  # not ours
                item = _describe(handle)
                if item.trusted or item.object_class not in _PUBLIC:
                    yield item

    @_guarded
    def read(self, handle: Handle, attribute: Attribute) -> Any:
        """Return one attribute of an object, as python-pkcs11 decodes it (never a template)."""
        return handle[attribute]

    @_guarded
    def create(self, template: Template) -> Handle:
        """Create an object (C_CreateObject)."""
        self._forget_if_lasting(template)
        return self.session.create_object(template.packed)

    @_guarded
    def destroy(self, handle: Handle) -> None:
        """Destroy an object."""
        handle.destroy()

    @_guarded
    def generate_secret(self, template: Template) -> Handle:
        """Generate a secret key; its type and length stand in the template."""
        self._forget_if_lasting(template)
        key_type, size = template.values[Attribute.KEY_TYPE], template.values[Attribute.VALUE_LEN]
        return self.session.generate_key(key_type, size * 8, template=template.packed)  # type: ignore[operator]

    @_guarded
    def generate_rsa(self, bits: int, public: Template, private: Template) -> tuple[Handle, Handle]:
        """Generate an RSA pair with exponent 65537; return its public and private handle."""
        self._forget_if_lasting(private)
        pair: tuple[Handle, Handle] = self.session.generate_keypair(
            KeyType.RSA, bits, public_template=public.packed, private_template=private.packed
        )
        return pair

    @_guarded
    def generate_p256(
        self, curve: bytes, public: Template, private: Template
    ) -> tuple[Handle, Handle]:
        """Generate an EC pair on ``curve`` (CKA_EC_PARAMS)."""
        self._forget_if_lasting(private)
        domain = self.session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True
        )
        pair: tuple[Handle, Handle] = domain.generate_keypair(
            public_template=public.packed, private_template=private.packed
        )
        return pair

    def _forget_if_lasting(self, template: Template) -> None:
        if template.values.get(Attribute.TOKEN):
            self.refresh()

    # operations

    @_guarded
    def random(self, size: int) -> bytes:
        """Return ``size`` bytes from the token's generator."""
        data: bytes = self.session.generate_random(size * 8)
        return data

    @_guarded
    def wrap(self, public: Handle, key: Handle) -> bytes:
        """Return ``key`` wrapped by RSA-OAEP with the profile's hash."""
        blob: bytes = public.wrap_key(
            key, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=self.oaep
        )
        return blob

    @_guarded
    def wrap_padded(self, wrapping: Handle, key: Handle) -> bytes:
        """Return ``key`` wrapped by AES-KWP (RFC 5649)."""
        blob: bytes = wrapping.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP_PAD)
        return blob

    @_guarded
    def unwrap_padded(self, unwrapping: Handle, blob: bytes, template: Template) -> Handle:
        """Return the private RSA key that a KWP blob holds (RFC 5649), as the template has it."""
        return unwrapping.unwrap_key(
            ObjectClass.PRIVATE_KEY,
            KeyType.RSA,
            blob,
            mechanism=Mechanism.AES_KEY_WRAP_PAD,
            template=template.packed,
        )

    @_guarded
    def unwrap_epoch(self, private: Handle, blob: bytes) -> Handle:
        """Return the epoch key that an OAEP blob holds; only a recovery needs it."""
        return private.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.AES,
            blob,
            mechanism=Mechanism.RSA_PKCS_OAEP,
            mechanism_param=self.oaep,
            template=UNWRAP_EPOCH.packed,
        )

    @_guarded
    def cmac(self, key: Handle, data: bytes) -> bytes:
        """Return AES-CMAC (16 bytes; RFC 4493)."""
        mac: bytes = key.sign(data, mechanism=Mechanism.AES_CMAC)
        return mac

    @_guarded
    def hmac(self, key: Handle, data: bytes) -> bytes:
        """Return HMAC-SHA256 (32 bytes)."""
        mac: bytes = key.sign(data, mechanism=Mechanism.SHA256_HMAC)
        return mac

    @_guarded
    def sign_digest(self, key: Handle, digest: bytes) -> bytes:
        """Return the ECDSA signature r || s (64 bytes) over a SHA-256 digest."""
        signature: bytes = key.sign(digest, mechanism=Mechanism.ECDSA)
        return signature

    # description

    @_guarded
    def describe(self, space: str) -> TokenInfo:
        """Return what may be shown of the token."""
        self.open()
        mechanisms = (item for item in self._token.slot.get_mechanisms() if _is_known(item))
        version = pkcs11.lib(self.profile.module).library_version
        return TokenInfo(
            token=self.label,
            space=space,
            manufacturer=self._token.manufacturer_id,
            model=self._token.model,
            serial=self._token.serial.decode("ascii", "replace"),
            module_version=".".join(str(part) for part in version),
            worker_pid=os.getpid(),
            mechanisms=tuple(sorted(item.name for item in mechanisms)),
            objects=tuple(_show(item) for item in self.objects()),
        )


def _is_known(mechanism: object) -> bool:
    return isinstance(mechanism, Mechanism)


def _describe(handle: Handle) -> Found:
    shown = handle.get_attributes(_SHOWN)
    return Found(
        label=parse_label(shown[Attribute.LABEL]),
        object_class=shown[Attribute.CLASS],
        key_id=shown.get(Attribute.ID, b""),
        trusted=shown.get(Attribute.TRUSTED, False),
        handle=handle,
    )


def _show(item: Found) -> dict[str, Any]:
    return {
        "label": str(item.label),
        "class": item.object_class.name.lower(),
        "id": b64u(item.key_id),
        "trusted": item.trusted,
    }
