"""restore-site: the HSM is lost, database and state directory are kept. On empty tokens of another
HSM the site gets new keys, and every key of every meeting comes back from escrow.

Nothing that lay on the old tokens is believed without them: the log is held against the head that
the officers compared, statements against the old root, the escrow key against its private half,
which the officers' shares open, and a token trusts only whom the plan names. The old tokens' keys
stay on the key list, since what they signed still counts. Disks opened by keys that left the old
tokens never: each is recovered by itself afterwards (recover-disk).
"""

from dataclasses import replace
from functools import partial

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.examples import example
from kms.ceremonies.plan import Parameters
from kms.ceremonies.ports import SharedSecret, SigningUse
from kms.ceremonies.room import Brief, Room
from kms.ceremonies.step import Script, Section, Step
from kms.ceremonies.steps.anchors import own_key
from kms.ceremonies.steps.generations import next_generation, own_book
from kms.ceremonies.steps.holding import escrow_shares, so_shares
from kms.ceremonies.steps.keepers import trust_escrow, trust_root
from kms.ceremonies.steps.newtoken import (
    finish_token,
    make_row_mac,
    make_signing_key,
    make_token,
)
from kms.ceremonies.steps.officers import draw_so_secret
from kms.ceremonies.steps.restoring import (
    RestoredSpace,
    TrustedAnchor,
    TrustedRecipient,
    WrittenLog,
    make_vault,
    restore_section,
    trust_proved_escrow,
)
from kms.ceremonies.steps.trusted import TrustedKind, label_of, load_public
from kms.domain.ids import parse_recipient
from kms.errors import InvalidInput, StateNotAllowed

NAME = "restore-site"


class Restoration(Parameters, frozen=True):
    """``log`` is the head of the log that the officers compared with the auditor's checkpoint.
    Whoever is not in ``recipients`` or ``anchors`` is not trusted any more.
    """

    log: WrittenLog
    spaces: tuple[RestoredSpace, ...]
    recipients: tuple[TrustedRecipient, ...] = ()
    anchors: tuple[TrustedAnchor, ...] = ()


def _check(brief: Brief) -> None:
    wanted = brief.parameters_as(Restoration)
    _ = wanted.log.root_bytes
    spaces = [one.space for one in wanted.spaces]
    if sorted(spaces) != sorted(space for space in brief.site.tokens if space):
        raise InvalidInput("the plan names exactly the spaces that the configuration has tokens of")
    for one in wanted.recipients:
        parse_recipient(one.recipient)
        label_of(one.kind, one.name)
        if one.kind is TrustedKind.DEVICE_ANCHOR:
            raise InvalidInput("device anchors stand under anchors, with their certificates")
        if one.kind is TrustedKind.PARTNER:
            raise InvalidInput("every vault is new: partners are registered anew afterwards")
    for anchor in wanted.anchors:
        load_public(TrustedKind.DEVICE_ANCHOR, anchor.certificate)
    named = {one.space for one in wanted.recipients} | {one.space for one in wanted.anchors}
    if not named <= set(spaces):
        raise InvalidInput("the plan trusts somebody in a space that it does not name")


def _script(brief: Brief) -> Script:
    wanted = brief.parameters_as(Restoration)
    return (
        _share_out(brief),
        _make_tokens(brief, wanted),
        restore_section(
            brief,
            wanted.log,
            wanted.spaces,
            wanted.recipients,
            wanted.anchors,
            shares=(
                *so_shares(brief, "restore", book=own_book(SharedSecret.SO)),
                *escrow_shares(brief, "restore"),
            ),
        ),
    )


def _share_out(brief: Brief) -> Section:
    first, *others = draw_so_secret(
        brief, brief.register, "officers", next_generation(SharedSecret.SO)
    )
    return Section(
        id="officers",
        text="The security officers get a new SO secret, from which the SO PINs of the new tokens "
        "come.",
        steps=(replace(first, check=_refuse_live), *others),
    )


def _make_tokens(brief: Brief, wanted: Restoration) -> Section:
    label = brief.site.token()
    root = partial(own_key, section="tokens", use=SigningUse.SITE_ROOT, label=label)
    steps: list[Step] = [
        *so_shares(brief, "tokens", book=own_book(SharedSecret.SO)),
        *escrow_shares(brief, "tokens"),
        *make_token("tokens", label),
        make_row_mac("tokens", label),
        make_signing_key("tokens", label, SigningUse.SITE_ROOT),
        make_signing_key("tokens", label, SigningUse.CHECKPOINT),
        trust_proved_escrow("tokens", label),
        *finish_token("tokens", label),
    ]
    for space in wanted.spaces:
        label = brief.site.token(space.space)
        steps += [
            *make_token("tokens", label),
            trust_root("tokens", label, root),
            trust_escrow("tokens", label),
            make_row_mac("tokens", label),
            make_signing_key("tokens", label, SigningUse.MANIFEST),
            make_vault("tokens", space, label),
            *finish_token("tokens", label),
        ]
    return Section(id="tokens", text="The tokens of the site are made anew.", steps=tuple(steps))


def _refuse_live(room: Room) -> None:
    """Refuse a site that is not lost."""
    for label in room.brief.site.tokens.values():
        if room.tokens(label).exists():
            raise StateNotAllowed(
                f"the token {label} is there: a site is restored when its tokens are lost",
                hint="empty the HSM with its own tools first if that is meant",
            )


CEREMONY = Ceremony(
    name=NAME,
    title="Restore the site onto a new HSM",
    purpose="Brings a site back whose HSM is lost: new tokens and a new site root, and every key "
    "of every meeting out of escrow. Encrypted disks open again by recover-disk, one at a time.",
    needs=Needs.EVERY_GROUP,
    parameters=Restoration,
    script=_script,
    example=example(NAME),
    check=_check,
    makes_root="restore/site-root",
)
