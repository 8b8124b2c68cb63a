"""Reads an object back from the token, every attribute, and holds it against its template."""

from pkcs11 import Attribute, ObjectClass

from kms.errors import IntegrityFailure
from kms.hsm.attributes import Template
from kms.hsm.token import Found, Handle, Token

_BORN_ON_TOKEN = Template(
    {Attribute.LOCAL: True, Attribute.ALWAYS_SENSITIVE: True, Attribute.NEVER_EXTRACTABLE: True}
)
_SECRET_CLASSES = (ObjectClass.PRIVATE_KEY, ObjectClass.SECRET_KEY)
_NOT_KEPT = frozenset({Attribute.MODULUS_BITS})


def read_back(token: Token, template: Template) -> Found:
    """Return the one object that a template's label names, checked.

    Private and secret keys must also be born on the token and never have left it. Raise NotFound,
    or IntegrityFailure with the attributes that differ.
    """
    wanted = template.packed[Attribute.LABEL].decode()
    found = [item for item in token.objects() if str(item.label) == wanted]
    same = [item for item in found if item.object_class is template.values[Attribute.CLASS]]
    if len(same) != 1:
        raise IntegrityFailure(f"the token has {len(same)} objects labelled {wanted}")
    check_kept(token, same[0].handle, template)
    return same[0]


def check_kept(token: Token, handle: Handle, template: Template) -> None:
    """Raise IntegrityFailure unless an object is as its template has it and, if it is secret, was
    born on the token and never left it.
    """
    check_attributes(token, handle, template)
    if template.values[Attribute.CLASS] in _SECRET_CLASSES:
        check_attributes(token, handle, _BORN_ON_TOKEN)


def check_attributes(token: Token, handle: Handle, template: Template) -> None:
    """Raise IntegrityFailure unless the token gives every attribute as the template has it."""
    wrong = [
        key.name
        for key in template.values
        if key not in _NOT_KEPT and not _holds(token, handle, key, template)
    ]
    if wrong:
        raise IntegrityFailure(f"the token changed {', '.join(wrong)}")


def _holds(token: Token, handle: Handle, key: Attribute, template: Template) -> bool:
    session = token.session.handle
    inner = template.values[key]
    if isinstance(inner, Template):
        kept = token.cryptoki.read_template(session, handle.handle, key)
        return kept == {int(name): packed for name, packed in inner.packed.items()}
    return token.cryptoki.read(session, handle.handle, key) == template.packed[key]
