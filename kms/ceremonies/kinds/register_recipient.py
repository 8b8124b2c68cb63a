"""register-recipient: whom a space's token trusts: meeting servers and recorders (``trusted``
spaces), roster authorities and authorities of device certificates (``roster`` spaces), and another
space's vault as a partner.

The token decides who receives keys; the record in the store tells the service whose TLS
certificate is whose. A device anchor has no record: only the token needs to know it.
"""

from functools import partial

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.examples import example
from kms.ceremonies.plan import Parameters
from kms.ceremonies.ports import CeremonyToken
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Script, Section, Step
from kms.ceremonies.steps.holding import so_shares
from kms.ceremonies.steps.keepers import recipient_entry
from kms.ceremonies.steps.newtoken import dump_token, key_facts, token_of
from kms.ceremonies.steps.partners import (
    end_older,
    own_partner,
    partner_label,
    partner_record,
    partner_vault,
    refuse_partner,
    trust_partner,
)
from kms.ceremonies.steps.trusted import (
    TrustedKind,
    anchor_entry,
    class_of,
    label_of,
    live_recipients,
    live_space,
    load_public,
    recipient_record,
)
from kms.domain.ids import parse_recipient, parse_space
from kms.domain.models import Recipient
from kms.domain.people import Part
from kms.errors import AlreadyExists, InvalidInput

NAME = "register-recipient"
_TRUST = "token/trust"


class NewRecipient(Parameters, frozen=True):
    """``public_key`` is PEM (of a device anchor a certificate); ``tls_key`` the SHA-256
    (base64url) of the key in the TLS certificate of its program, of a device anchor empty. A
    partner is named by its space, and has neither.
    """

    space: str
    kind: TrustedKind
    name: str
    public_key: str = ""
    tls_key: str = ""


def _check(brief: Brief) -> None:
    wanted = brief.parameters_as(NewRecipient)
    token_of(brief, parse_space(wanted.space))
    label_of(wanted.kind, wanted.name)
    if wanted.kind is TrustedKind.PARTNER:
        _check_partner(brief, wanted)
        return
    load_public(wanted.kind, wanted.public_key)
    if wanted.kind is not TrustedKind.DEVICE_ANCHOR:
        parse_recipient(wanted.tls_key)
    elif wanted.tls_key:
        raise InvalidInput("a device anchor has no tls_key: nothing connects in its name")


def _check_partner(brief: Brief, wanted: NewRecipient) -> None:
    token_of(brief, parse_space(wanted.name))
    if wanted.name == wanted.space:
        raise InvalidInput("a space is no partner of its own")
    if wanted.public_key or wanted.tls_key:
        raise InvalidInput("a partner has no public_key and no tls_key: it is the space's vault")


def _script(brief: Brief) -> Script:
    wanted = brief.parameters_as(NewRecipient)
    values = {"kind": wanted.kind.value, "name": wanted.name, "space": wanted.space}
    label = token_of(brief, wanted.space)
    return (_trust_section(brief, wanted, label, values), _record_section(wanted, label, values))


def _trust_section(
    brief: Brief, wanted: NewRecipient, label: str, values: dict[str, str]
) -> Section:
    trust = Step(
        id=_TRUST,
        who=Part.ADMINISTRATOR,
        text="The officers' session lets the token of the space {space} trust the newest vault key "
        "of {name}, which the token of {name} confirms."
        if wanted.kind is TrustedKind.PARTNER
        else "The officers' session lets the token of the space {space} trust the key of {kind} "
        "{name}.",
        values=values,
        check=partial(_refuse, wanted, label),
        act=partial(_trust, wanted, label),
        undo=partial(_distrust, wanted, label),
    )
    return Section(
        id="token",
        text="The token of the space {space} comes to trust {kind} {name}.",
        values=values,
        steps=(*so_shares(brief, "token"), trust, dump_token("token", label)),
    )


def _record_section(wanted: NewRecipient, label: str, values: dict[str, str]) -> Section:
    record = Step(
        id="register/record",
        who=Part.ADMINISTRATOR,
        text="{kind} {name} enters the store and the log of the space {space}.",
        values=values,
        confirm=wanted.name,
        act=partial(_record, wanted, label),
    )
    return Section(
        id="register",
        text="{kind} {name} is registered in the space {space}.",
        values=values,
        forward=True,
        steps=(record,),
    )


def _refuse(wanted: NewRecipient, label: str, room: Room) -> None:
    """Refuse a space that is not live or of the other class, and a name or key in use."""
    space = live_space(room, wanted.space)
    if space.token != label:
        raise InvalidInput(f"the configuration names another token for the space {wanted.space}")
    if wanted.kind is TrustedKind.PARTNER:
        refuse_partner(room, space, wanted.name)
    elif space.release_class is not class_of(wanted.kind):
        raise InvalidInput(f"a {space.release_class} space has no {wanted.kind}")
    if _label(wanted, room) in room.tokens(label).labels():
        raise AlreadyExists(
            f"the space trusts a {wanted.kind} {wanted.name} already",
            hint="revoke it first, or choose another name",
        )
    if wanted.kind not in (TrustedKind.DEVICE_ANCHOR, TrustedKind.PARTNER):
        _refuse_twin(_described(wanted, 0), room)


def _label(wanted: NewRecipient, room: Room) -> str:
    if wanted.kind is TrustedKind.PARTNER:
        return partner_label(partner_vault(room, wanted.name))
    return label_of(wanted.kind, wanted.name)


def _refuse_twin(new: Recipient, room: Room) -> None:
    for old in live_recipients(room, new.space):
        if old.recipient == new.recipient or old.tls_spki == new.tls_spki:
            raise AlreadyExists(f"the key is registered already, as {old.kind} {old.name}")


def _described(wanted: NewRecipient, now: int) -> Recipient:
    spki = load_public(wanted.kind, wanted.public_key).spki
    return recipient_record(wanted.space, wanted.kind, wanted.name, spki, wanted.tls_key, now)


def _trust(wanted: NewRecipient, label: str, room: Room) -> Facts:
    if wanted.kind is TrustedKind.PARTNER:
        return trust_partner(room, room.tokens(label), wanted.name)
    public = load_public(wanted.kind, wanted.public_key)
    public.trust(room.tokens(label), wanted.name)
    return {"label": label_of(wanted.kind, wanted.name), **key_facts(public.spki)}


def _distrust(wanted: NewRecipient, label: str, room: Room) -> None:
    room.tokens(label).destroy(_label(wanted, room))


def _record(wanted: NewRecipient, label: str, room: Room) -> Facts:
    if wanted.kind is TrustedKind.PARTNER:
        return _record_partner(wanted, room.tokens(label), room)
    if wanted.kind is TrustedKind.DEVICE_ANCHOR:
        entry = anchor_entry(room, "recipient.register", wanted.space, wanted.name)
    else:
        entry = recipient_entry(room, "recipient.register", _described(wanted, room.now()))
    return {"leaf": room.records.write(entry)}


def _record_partner(wanted: NewRecipient, token: CeremonyToken, room: Room) -> Facts:
    version, spki = own_partner(room, _TRUST, token, wanted.name)
    record = partner_record(wanted.space, wanted.name, version, spki, room.now())
    leaf = room.records.write(recipient_entry(room, "recipient.register", record))
    return {"leaf": leaf, "replaced": end_older(room, token, record)}


CEREMONY = Ceremony(
    name=NAME,
    title="Register a recipient",
    purpose="Lets a space's token trust a meeting server, a recorder, an authority that signs "
    "rosters, one that issues devices' certificates, or the vault of another space, with which "
    "meetings are then shared.",
    needs=Needs.SECURITY,
    parameters=NewRecipient,
    script=_script,
    example=example(NAME),
    check=_check,
)
