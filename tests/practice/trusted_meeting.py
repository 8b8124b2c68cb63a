"""The main job's second half: a trusted space of another department, and the wall between."""

from kms.errors import NotFound
from tests.practice import programs
from tests.practice.account import Account
from tests.practice.examples import Example
from tests.practice.service import Service

SPACE = "treasury"
SECONDS = 2
ENOUGH = 0.99


def run(service: Service, account: Account) -> str:
    """Perform it; return the meeting's id."""
    account.step("受信空间", "Another department: two meeting servers fetch for themselves")
    with service.server("ms-a") as client:
        ids = {one.name: one.recipient for one in client.recipients().items}
    first = programs.trusted_server(service, "ms-a", "--with-recipient", ids["ms-b"])
    with first:
        joined = first.expect("joined")
        meeting = str(joined["meeting"])
        with programs.trusted_server(service, "ms-b", "--meeting", meeting, "--source", 2) as other:
            _talk(account, first, other)
            first.do("rotate")
            first.expect("rotated")
            epoch = other.expect("epoch", epoch=1)["epoch"]
            account.say(f"rotated by hand; ms-b heard of epoch {epoch} before it began")
        first.do("stop")
        first.expect("closed")
    _wall(service, account, meeting)
    return meeting


def _talk(account: Account, first: Example, other: Example) -> None:
    media = other.expect("joined")["media"]
    for server in (first, other):
        server.expect("epoch", epoch=0)
    first.do("send", seconds=SECONDS, to=media)
    sent = first.expect("sent")["frames"]
    other.do("report")
    report = other.expect("report")
    account.figures["trusted"] = {**report, "sent": sent}
    account.say(f"ms-a sent {sent} frames, ms-b decoded {report['decoded']}")
    account.holds(
        f"ms-b decodes at least {ENOUGH:.0%} with the key that it fetched for itself",
        shown=report["delivered"] > 0 and report["decoded"] >= ENOUGH * report["delivered"],
    )


def _wall(service: Service, account: Account, meeting: str) -> None:
    answers = []
    with service.server("ms-1") as stranger:
        for space in (SPACE, "no-such-space"):
            try:
                stranger.meeting(space, meeting)
            except NotFound as error:
                answers.append((error.code, error.message))
    account.holds(
        "to the other department's server the meeting does not exist, nor does the space",
        shown=len(answers) == 2 and answers[0] == answers[1],
    )
