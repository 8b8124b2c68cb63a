"""Destroys an older vault key of a space's token: which one, people have approved.

It trusts no caller's word for that: the executed request and the vault's revoked row, both MACed by
this token when the approvals were checked, say it. What it cannot see is the store: that nothing
depends on the key is what people have approved upon the service's word.
"""

from dataclasses import replace

from pkcs11 import Attribute

from kms.domain.approvals import VaultTarget
from kms.domain.models import Recipient
from kms.errors import Forbidden, IntegrityFailure
from kms.hsm.attributes import Template
from kms.hsm.guard import check_executed, check_permitted
from kms.hsm.keyring import SpaceKeyring
from kms.hsm.labels import Kind, Label, numbered
from kms.hsm.rows import RowSealer
from kms.hsm.token import Found, Token
from kms.ports import RetireOrder
from kms.statements.canonical import read_row, unb64u


class VaultRetirer:
    """Destroys vault keys of one space's token."""

    def __init__(self, token: Token, site: str) -> None:
        self._token = token
        self._site = site

    def retire(self, keys: SpaceKeyring, order: RetireOrder) -> None:
        """Destroy the key pair that the order's request names; nothing if it is gone already.

        Raise IntegrityFailure for rows that are not the service's or if something of the key stays,
        VerificationFailed, QuorumNotMet, Forbidden for a request that is about something else, and
        for the vault key that new keys go to.
        """
        _, checked = check_executed(self._site, keys, order.request, order.register)
        if not isinstance(checked.parameters, VaultTarget):
            raise Forbidden("the request is about no vault key")
        RowSealer.check(keys, (order.vault,))
        check_permitted(checked, (order.vault.row,))
        vault = read_row(order.vault.row)
        if isinstance(vault, Recipient):
            self._destroy(keys, vault)

    def _destroy(self, keys: SpaceKeyring, vault: Recipient) -> None:
        """Destroy both halves, the private one first: what is left of an interrupted act is the
        public half, which tells by its id that it has to be done again.
        """
        if vault.version >= keys.always[0].version or vault.recipient == keys.always[0].id:
            raise Forbidden("the vault key that new keys go to is not destroyed")
        private = numbered(Kind.VAULT, vault.version)
        labels = (private, replace(private, release_class=keys.release_class))
        key_id = unb64u(vault.recipient)
        if not any(key_id == one.key_id for one in self._labelled(*labels)):
            return
        with self._token.writing() as session:
            for label in labels:
                for handle in list(session.get_objects(_template(label))):
                    handle.destroy()
        if self._labelled(*labels):
            raise IntegrityFailure(f"the token still has vault key {vault.version}")

    def _labelled(self, *labels: Label) -> list[Found]:
        self._token.refresh()
        return [one for one in self._token.objects() if one.label in labels]


def _template(label: Label) -> dict[Attribute, bytes]:
    return Template({Attribute.TOKEN: True, Attribute.LABEL: str(label)}).packed
