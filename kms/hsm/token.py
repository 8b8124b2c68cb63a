"""A token's objects: finds them, keeps their handles, does single operations with them.

Public objects without CKA_TRUSTED do not exist for this module: whoever holds the user PIN can
make those. Handles go with the session that they were found in.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import pkcs11
from pkcs11 import MGF, Attribute, GCMParams, KeyType, Mechanism, ObjectClass

from kms.errors import IntegrityFailure, InvalidInput, NotFound
from kms.hsm.attributes import Template
from kms.hsm.labels import Kind, Label, parse_label
from kms.hsm.login import TokenSession, guarded, is_known
from kms.hsm.profile import OaepHash
from kms.ports import TokenInfo
from kms.statements.canonical import b64u

Handle: TypeAlias = Any
"""An object on the token; python-pkcs11 builds its classes at run time, by the object's uses."""

_SHOWN = (Attribute.LABEL, Attribute.CLASS, Attribute.ID, Attribute.TRUSTED)
_TAG_BITS = 128
_PUBLIC = frozenset({ObjectClass.PUBLIC_KEY, ObjectClass.CERTIFICATE})
_OAEP = {
    OaepHash.SHA1: (Mechanism.SHA_1, MGF.SHA1, None),
    OaepHash.SHA256: (Mechanism.SHA256, MGF.SHA256, None),
}


@dataclass(frozen=True, slots=True)
class Found:
    """One of the service's objects; ``key_id`` is the SPKI's SHA-256, empty for private halves."""

    label: Label
    object_class: ObjectClass
    key_id: bytes
    trusted: bool
    handle: Handle


class Token(TokenSession):
    """A session on a token with what it finds there."""

    _objects: dict[tuple[ObjectClass, Label], list[Found]] | None = None

    @property
    def oaep(self) -> tuple[Mechanism, MGF, None]:
        """Parameters of RSA-OAEP, as python-pkcs11 takes them."""
        return _OAEP[self.profile.oaep_hash]

    def drop(self) -> None:
        """Close every session of this process on the token and forget all handles."""
        self.refresh()
        super().drop()

    @guarded
    def objects(self) -> tuple[Found, ...]:
        """Return every object of the service on the token."""
        return tuple(item for items in self._index().values() for item in items)

    def refresh(self) -> None:
        """Forget the handles: the next look sees what officers changed meanwhile."""
        self._objects = None

    @guarded
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

    @guarded
    def labelled(self, object_class: ObjectClass, label: Label) -> list[Handle]:
        """Return the handles of one label as the token has them now, without a look at the rest."""
        wanted = Template(
            {Attribute.TOKEN: True, Attribute.CLASS: object_class, Attribute.LABEL: str(label)}
        )
        return list(self.session.get_objects(wanted.packed))

    @guarded
    def all(self, object_class: ObjectClass, kind: Kind) -> list[Found]:
        """Return the objects of one kind by number and name; raise IntegrityFailure for twins."""
        labels = {key[1] for key in self._index() if key[0] is object_class and key[1].kind is kind}
        ordered = sorted(labels, key=lambda label: (label.number, label.name))
        return [self.find(object_class, label) for label in ordered]

    @guarded
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

    @guarded
    def read(self, handle: Handle, attribute: Attribute) -> Any:
        """Return one attribute of an object, as python-pkcs11 decodes it (never a template)."""
        return handle[attribute]

    @guarded
    def create(self, template: Template) -> Handle:
        """Create an object (C_CreateObject)."""
        self._forget_if_lasting(template)
        return self.session.create_object(template.packed)

    @guarded
    def destroy(self, handle: Handle) -> None:
        """Destroy an object."""
        handle.destroy()

    @guarded
    def generate_secret(self, template: Template) -> Handle:
        """Generate a secret key; its type and length stand in the template."""
        self._forget_if_lasting(template)
        key_type, size = template.values[Attribute.KEY_TYPE], template.values[Attribute.VALUE_LEN]
        return self.session.generate_key(key_type, size * 8, template=template.packed)  # type: ignore[operator] # an int

    @guarded
    def generate_rsa(self, bits: int, public: Template, private: Template) -> tuple[Handle, Handle]:
        """Generate an RSA pair with exponent 65537; return its public and private handle."""
        self._forget_if_lasting(private)
        pair: tuple[Handle, Handle] = self.session.generate_keypair(
            KeyType.RSA, bits, public_template=public.packed, private_template=private.packed
        )
        return pair

    @guarded
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

    @guarded
    def random(self, size: int) -> bytes:
        """Return ``size`` bytes from the token's generator."""
        data: bytes = self.session.generate_random(size * 8)
        return data

    @guarded
    def wrap(self, public: Handle, key: Handle) -> bytes:
        """Return ``key`` wrapped by RSA-OAEP with the profile's hash."""
        blob: bytes = public.wrap_key(
            key, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=self.oaep
        )
        return blob

    @guarded
    def wrap_padded(self, wrapping: Handle, key: Handle) -> bytes:
        """Return ``key`` wrapped by AES-KWP (RFC 5649)."""
        blob: bytes = wrapping.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP_PAD)
        return blob

    @guarded
    def unwrap_padded(self, unwrapping: Handle, blob: bytes, template: Template) -> Handle:
        """Return the private RSA key that a KWP blob holds (RFC 5649), as the template has it."""
        return unwrapping.unwrap_key(
            ObjectClass.PRIVATE_KEY,
            KeyType.RSA,
            blob,
            mechanism=Mechanism.AES_KEY_WRAP_PAD,
            template=template.packed,
        )

    @guarded
    def encrypt_oaep(self, public: Handle, data: bytes) -> bytes:
        """Return data encrypted by RSA-OAEP with the profile's hash."""
        blob: bytes = public.encrypt(
            data, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=self.oaep
        )
        return blob

    @guarded
    def decrypt_oaep(self, private: Handle, blob: bytes) -> bytes:
        """Return what RSA-OAEP with the profile's hash encrypted."""
        data: bytes = private.decrypt(
            blob, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=self.oaep
        )
        return data

    @guarded
    def encrypt_gcm(self, key: Handle, iv: bytes, aad: bytes, data: bytes) -> bytes:
        """Return the ciphertext by AES-GCM and its tag (16 bytes); ``iv`` has 12 bytes."""
        parameter = GCMParams(iv, aad, _TAG_BITS)
        blob: bytes = key.encrypt(data, mechanism=Mechanism.AES_GCM, mechanism_param=parameter)
        return blob

    @guarded
    def decrypt_gcm(self, key: Handle, iv: bytes, aad: bytes, blob: bytes) -> bytes:
        """Return what ``encrypt_gcm`` encrypted; the token refuses any other IV, AAD or blob."""
        parameter = GCMParams(iv, aad, _TAG_BITS)
        data: bytes = key.decrypt(blob, mechanism=Mechanism.AES_GCM, mechanism_param=parameter)
        return data

    @guarded
    def cmac(self, key: Handle, data: bytes) -> bytes:
        """Return AES-CMAC (16 bytes; RFC 4493)."""
        mac: bytes = key.sign(data, mechanism=Mechanism.AES_CMAC)
        return mac

    @guarded
    def hmac(self, key: Handle, data: bytes) -> bytes:
        """Return HMAC-SHA256 (32 bytes)."""
        mac: bytes = key.sign(data, mechanism=Mechanism.SHA256_HMAC)
        return mac

    @guarded
    def sign_digest(self, key: Handle, digest: bytes) -> bytes:
        """Return the ECDSA signature r || s (64 bytes) over a SHA-256 digest."""
        signature: bytes = key.sign(digest, mechanism=Mechanism.ECDSA)
        return signature

    # description

    @guarded
    def describe(self, space: str) -> TokenInfo:
        """Return what may be shown of the token."""
        self.open()
        mechanisms = (item for item in self._token.slot.get_mechanisms() if is_known(item))
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
