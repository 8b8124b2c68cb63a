"""The example of docs/confidential.md makes a statement that counts; the browser is a FAKE one."""

from kms.statements.presence import verify_presence
from tests.docs.pages import DOCS, blocks
from tests.fixtures.api import BANKING
from tests.fixtures.confidential import (
    AT_MEETINGS,
    NOW,
    SITE,
    device,
    host_id,
    host_key,
    host_spki,
    invitation,
    meeting_id,
    named,
    passkey,
)


def test_the_example_makes_a_statement_that_holds() -> None:
    (example,) = [one for one in blocks(DOCS / "confidential.md") if one.language == "python"]
    made, meeting, who = passkey(), meeting_id(), device("host")
    names = {
        "site": SITE, "space": BANKING, "meeting": meeting, "device": who.id, "now": NOW,
        "passkey": named(made), "host": host_spki(host_key().public_key()),
        "invitation": invitation(meeting, who, made),
        "ask_browser": lambda options: AT_MEETINGS.get(options, with_=made),
    }  # fmt: skip
    exec(example.text, names)
    assert verify_presence(str(names["assertion"]), host_id()).passkey == named(made)
