"""meeting report-media and score: what protects a meeting's media, and the score that follows."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kms.cli.inputs import MeetingArgument, SpaceArgument
from kms.cli.output import Column, word, yes_no
from kms.cli.register import register
from kms.cli.session import Session
from kms.domain.score import Cipher
from kms.i18n import Language, _, language

if TYPE_CHECKING:
    from kms.wire.confidential import ScoreOut

_MEDIA = (
    Column("Space", "space"),
    Column("Meeting", "meeting"),
    Column("Media cipher", "media"),
)
_REASONS = (
    Column("Dimension", "part"),
    Column("Holds", "holds", yes_no),
    Column("Finding", "said"),
    Column("Evidence", "shown"),
)


def add(meetings: typer.Typer) -> None:
    """Add the commands to the group of meetings."""
    register(meetings, "report-media", report_media)
    register(meetings, "score", score)


def report_media(
    session: Session,
    space: SpaceArgument,
    meeting: MeetingArgument,
    cipher: Annotated[
        Cipher, typer.Option(help="The SFrame suite (RFC 9605) of the media; none: no such.")
    ],
) -> None:
    """Report the cipher that a meeting's media were negotiated to."""
    with session.client() as client:
        document = client.report_media(space, meeting, cipher).model_dump(mode="json")
    session.output.record(document, document, _MEDIA)


def score(session: Session, space: SpaceArgument, meeting: MeetingArgument) -> None:
    """Show a meeting's self-check reference score (D/A/K), its number and every reason."""
    with session.client() as client:
        found = client.score(space, meeting)
    document = found.model_dump(mode="json")
    session.output.table(document, [_row(one) for one in document["reasons"]], _REASONS)
    session.output.note(_summary(found))


def _summary(found: "ScoreOut") -> str:
    text = _("Self-check reference score {number} ({vector}, Ra {ra}, Rk {rk}); no assessment.")
    return text.format(number=found.number, vector=found.vector, ra=found.ra, rk=found.rk)


def _row(reason: dict[str, Any]) -> dict[str, Any]:
    said = reason["zh" if language() is Language.ZH else "en"]
    places = (f"{word(one['kind'])} {one['value']}" for one in reason["evidence"])
    return {**reason, "said": said, "shown": ", ".join(places) or None}
