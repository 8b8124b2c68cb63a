"""credential: make what a person signs approvals with, and the card that registers it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kms.cli.inputs import read_text
from kms.cli.output import Column, word
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.cli.unlock import (
    KeyOption,
    ModuleOption,
    PasswordFdOption,
    PinFdOption,
    Place,
    TokenOption,
    new_password,
    one_place,
)
from kms.domain.people import parse_name
from kms.errors import AlreadyExists, InvalidInput
from kms.hardening import harden

if TYPE_CHECKING:
    from kms.statements.card import Card, HeldCredential

_SO_PIN_BYTES = 16
_CARD = (
    Column("Person", "person"),
    Column("Kind", "kind", word),
    Column("Credential", "credential"),
    Column("Saved as", "file"),
)

PersonOption = Annotated[
    str, typer.Option(help="The person's name, as plans and register have it.")
]
OutOption = Annotated[Path, typer.Option(help="New file to write the card to.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    credentials = group("What people sign approvals with, on a token or in a file.")
    register(credentials, "new", new)
    register(credentials, "card", card)
    register(credentials, "show", show)
    app.add_typer(credentials, name="credential")


def new(
    session: Session,
    person: PersonOption,
    out: OutOption,
    token: TokenOption = None,
    module: ModuleOption = None,
    key: KeyOption = None,
    init_token: Annotated[
        bool,
        typer.Option(
            "--init-token",
            help="Initialise an empty token of the configured HSM first, for practice.",
        ),
    ] = False,
    pin_fd: PinFdOption = None,
    password_fd: PasswordFdOption = None,
) -> None:
    """Make a credential and its card, which a plan brings into the register.

    The person does it alone: PIN or password and the private key are nobody else's.
    """
    harden()
    _prepare(person, out)
    if init_token and (key or module):
        raise InvalidInput("--init-token goes with --token, on the configured HSM alone")
    if token and key is None:
        place = Place(token, module, key, pin_fd, password_fd)
        fresh = place.on_token(session, token, fresh=init_token)
        if init_token:
            _initialise(session, token, fresh.pin)
        held = fresh.generate()
    elif key and token is None:
        from kms.ceremonies.people.software import new_software_credential  # noqa: PLC0415 -- heavy

        held = new_software_credential(key, new_password(password_fd))
    else:
        raise one_place()
    _hand_out(session, person, held, out)


def card(
    session: Session,
    person: PersonOption,
    out: OutOption,
    token: TokenOption = None,
    module: ModuleOption = None,
    key: KeyOption = None,
    pin_fd: PinFdOption = None,
    password_fd: PasswordFdOption = None,
) -> None:
    """Write the card of a credential that exists."""
    harden()
    _prepare(person, out)
    held = Place(token, module, key, pin_fd, password_fd).open(session)
    _hand_out(session, person, held, out)


def show(
    session: Session, file: Annotated[Path, typer.Argument(help="The card; - reads stdin.")]
) -> None:
    """Check a card and show whose it is."""
    from kms.statements.card import read_card  # noqa: PLC0415 -- heavy

    _show(session, read_card(read_text(file)), file)


def _prepare(person: str, out: Path) -> None:
    """Refuse before a key is made what would be refused after."""
    parse_name(person)
    if out.exists() or out.is_symlink():
        raise AlreadyExists(f"{out} is there already", hint="choose a new name for the card")


def _initialise(session: Session, label: str, pin: str) -> None:
    """Initialise a token; nobody knows its SO PIN, which practice never needs again."""
    import secrets  # noqa: PLC0415 -- for this command alone

    from kms.hsm.init_token import init_token  # noqa: PLC0415 -- heavy
    from kms.hsm.isolated import run_isolated  # noqa: PLC0415 -- heavy
    from kms.hsm.profile import load_profile  # noqa: PLC0415 -- heavy

    hsm = session.settings().hsm
    profile, so_pin = load_profile(hsm.profile), secrets.token_hex(_SO_PIN_BYTES)
    run_isolated(hsm.environment, init_token, profile, label, so_pin, pin)


def _hand_out(session: Session, person: str, held: "HeldCredential", out: Path) -> None:
    from kms.ceremonies.record.durable import write_new  # noqa: PLC0415 -- for these commands alone
    from kms.statements.card import make_card, read_card  # noqa: PLC0415 -- heavy

    token = make_card(person, held)
    made = read_card(token)
    write_new(out, f"{token}\n".encode())
    _show(session, made, out)


def _show(session: Session, read: "Card", file: Path) -> None:
    document = {
        "person": read.person,
        "kind": read.credential.kind.value,
        "credential": read.credential.kid,
        "file": str(file),
    }
    session.output.record(document, document, _CARD)
