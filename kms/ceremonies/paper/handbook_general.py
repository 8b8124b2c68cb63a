"""What all ceremonies have in common: before, after, and what to do when something goes wrong."""

from collections.abc import Iterator

from kms.ceremonies.room import Brief
from kms.documents.paper import Block, Heading, Paragraph, Points, SignatureLines, Table, Typed
from kms.i18n import _


def rules() -> Iterator[Block]:
    """Yield what everybody keeps to in every ceremony."""
    yield Points(
        (
            _("Nobody has two parts. Administrator, witness and auditor hold no share."),
            _("Nobody is alone in the room with an open bag, a share card or the terminal."),
            _("Telephones and cameras stay outside."),
            _("Only the holder looks at a share card. Everybody else turns away."),
            _("Whoever doubts says stop. Stopping is always allowed, and loses nothing."),
            _("What goes otherwise than written here goes on the exception sheet."),
        )
    )


def reading() -> Iterator[Block]:
    """Yield how to read what is typed."""
    yield Paragraph(
        _(
            "A line with ⌨ names the person who types and what; what stands in a box is typed "
            "letter by letter. Words in capitals (LABEL, FILE, PLAN, NAME, ID) stand for your own. "
            "The terminal names the same person as it asks."
        )
    )


def before(
    brief: Brief, plan: str, signing: tuple[Typed, ...], *, new_pins: bool
) -> Iterator[Block]:
    """Yield what is done before the script begins; ``plan`` is the plan's path. With ``new_pins``
    the ceremony makes tokens, whose PINs go to a new file.
    """
    file = brief.plan.file
    run = f"conclave ceremony run {plan}{' --new-pins FILE' if new_pins else ''}"
    yield Heading(1, _("Rules"))
    yield from rules()
    yield from reading()
    yield Heading(1, _("Days before"))
    yield Paragraph(_("The administrator checks the plan and rehearses it on a throwaway token:"))
    yield Typed(file.administrator, _("the check"), f"conclave ceremony plan check {plan}")
    yield Typed(file.administrator, _("the rehearsal"), f"conclave ceremony rehearse {plan}")
    yield Paragraph(_("Everybody gets this handbook and the plan, and reads both."))
    yield Heading(1, _("On the day"))
    yield Points(preparations(), numbered=True)
    yield Typed(file.administrator, _("the ceremony begins"), run)
    yield Typed(file.administrator, _("the PIN of each token that the terminal asks for, unseen"))
    yield Heading(1, _("Approve the plan"))
    yield Paragraph(
        _(
            "The administrator's terminal shows a digest, in hexadecimal and as eight words. "
            "Everybody's own terminal must show the same eight words. The auditor reads them "
            "aloud, everybody compares; one word that differs means: stop, do not sign. They are "
            "not the words of the plan, since they also cover a number that is used once."
        )
    )
    yield from signing


def preparations() -> tuple[str, ...]:
    """Return what the administrator does before the ceremony begins."""
    return (
        _("Stop the service: `systemctl stop conclave`. A ceremony needs the store alone."),
        _("Turn swap off: `swapoff -a`; the offline ceremony image has none."),
        _("Start the terminal's window large enough, and nothing that records it."),
        _("The officers show the bags of their share cards; the witness compares the numbers."),
    )


def after(brief: Brief, signing: tuple[Typed, ...]) -> Iterator[Block]:
    """Yield what is done once the script is done."""
    file = brief.plan.file
    yield Heading(1, _("Afterwards"))
    yield Paragraph(
        _(
            "The terminal shows the digest of the transcript as eight words. Everybody who took "
            "part signs it as they approved the plan:"
        )
    )
    yield from signing
    yield Paragraph(_("Auditor and witness each check the transcript on a machine of their own:"))
    for name in (file.auditor, file.witness):
        yield Typed(
            name,
            _("the check of the transcript"),
            "conclave ceremony verify FILE --site-root PEM",
        )
    yield Points(
        (
            _("Share cards lie in sealed bags; the witness has written down the numbers."),
            _("No share card lies in the printer, in the room or in a waste bin."),
            _("Start the service: `systemctl start conclave`."),
            _("The auditor keeps the signed transcript; the administrator a copy."),
        )
    )
    yield Paragraph(_("Signed on paper as well:"))
    yield SignatureLines(tuple(brief.register.person(name).display for name in file.roster))


def trouble(brief: Brief) -> Iterator[Block]:
    """Yield what to do when something goes wrong."""
    name = brief.plan.file.id
    yield Heading(1, _("When something goes wrong"))
    yield Table(
        (_("What happened"), _("What to do")),
        (
            (
                _("A share is refused"),
                _(
                    "The terminal says why: a word that does not exist, a card of another person, "
                    "of an older split or generation, or given twice. Compare the card's head "
                    "with the step; there are three tries. A card that stays refused counts as "
                    "lost: another officer of the group takes the place in a new plan."
                ),
            ),
            (
                _("An approval is refused, or somebody is missing"),
                _(
                    "The terminal names the person and the reason. Without the quorum nothing "
                    "happens; after the plan's end it takes a new plan."
                ),
            ),
            (
                _("The eight words differ"),
                _("Nobody signs. Somebody has another plan: find out who, and begin anew."),
            ),
            (
                _("Terminal, token or power fails"),
                _(
                    "Run the ceremony again with the same command. An unfinished section is undone "
                    "and begun anew, with its shares given again; what is done stays done. The "
                    "administrator says in a line what happened."
                ),
            ),
            (
                _("The ceremony shall not go on"),
                _(
                    "`conclave ceremony abort {id}` undoes every section, as long as none without "
                    "a way back has begun. Until then everything old stays valid."
                ).format(id=name),
            ),
            (
                _("The store is locked by the service"),
                _("Stop the service on this machine, then run the ceremony again."),
            ),
            (
                _("Something was done otherwise than written"),
                _(
                    "Put it on the exception sheet, which is part of the transcript: "
                    "`conclave ceremony exception {id} TEXT`"
                ).format(id=name),
            ),
            (
                _("A card was seen by another, a bag is torn, somebody is under pressure"),
                _(
                    "Stop. Report to the security department. The shares count as disclosed: plan "
                    "a new generation (`new-generation`, reason `distrust`)."
                ),
            ),
        ),
        (2, 5),
    )
