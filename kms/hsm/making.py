"""Makes and destroys a token's lasting objects, in a session that the caller opened.

What was made is read back, attribute by attribute. Nothing that is there is ever replaced.
"""

from pkcs11 import Attribute, KeyType, ObjectClass

from kms.ceremonies.ports import SigningUse
from kms.errors import AlreadyExists, NotFound
from kms.hsm import templates
from kms.hsm.attributes import Template
from kms.hsm.labels import Kind, Label, numbered
from kms.hsm.publickeys import read_p256, read_rsa
from kms.hsm.readback import check_attributes, read_back
from kms.hsm.token import Token

VAULT_BITS = 3072


def make_vault(token: Token, version: int) -> bytes:
    """Generate a vault pair; return its public half (SPKI), which dies with the session."""
    label = numbered(Kind.VAULT, version)
    _refuse_twin(token, label, ObjectClass.PRIVATE_KEY)
    private = templates.vault_private(label)
    passing = templates.passing_public(KeyType.RSA)
    public, _ = token.generate_rsa(VAULT_BITS, passing, private)
    read_back(token, private)
    return read_rsa(token, public)


def make_signing(token: Token, use: SigningUse, version: int) -> bytes:
    """Generate a P-256 signing pair; return its public half (SPKI), which dies with the session."""
    label = numbered(Kind(use.value), version)
    _refuse_twin(token, label, ObjectClass.PRIVATE_KEY)
    private = templates.signing_private(label)
    passing = templates.passing_public(KeyType.EC)
    public, _ = token.generate_p256(templates.P256, passing, private)
    read_back(token, private)
    return read_p256(token, public)


def make_row_mac(token: Token, version: int) -> None:
    """Generate a row-MAC key."""
    label = numbered(Kind.ROW_MAC, version)
    _refuse_twin(token, label, ObjectClass.SECRET_KEY)
    template = templates.row_mac(label)
    token.generate_secret(template)
    read_back(token, template)


def trust(token: Token, template: Template) -> None:
    """Create a TRUSTED object in a security officer's session; raise AlreadyExists if its label
    or its key is trusted.
    """
    label = template.packed[Attribute.LABEL].decode()
    wanted = template.packed[Attribute.ID]
    trusted = [item for item in token.objects() if item.trusted]
    if any(str(item.label) == label or item.key_id == wanted for item in trusted):
        raise AlreadyExists(f"the token already trusts {label} or the same key")
    handle = token.create(template)
    check_attributes(token, handle, template)
    read_back(token, template)


def revoke(token: Token, label: str) -> None:
    """Destroy a TRUSTED object; raise NotFound."""
    found = [item for item in token.objects() if item.trusted and str(item.label) == label]
    if not found:
        raise NotFound(f"the token trusts nothing labelled {label}")
    for item in found:
        token.destroy(item.handle)


def destroy(token: Token, label: str) -> int:
    """Destroy every object of a label, secret or trusted; return how many there were."""
    found = [item for item in token.objects() if str(item.label) == label]
    for item in found:
        token.destroy(item.handle)
    token.refresh()
    return len(found)


def _refuse_twin(token: Token, label: Label, object_class: ObjectClass) -> None:
    if any((item.label, item.object_class) == (label, object_class) for item in token.objects()):
        raise AlreadyExists(f"the token already has {label}")
