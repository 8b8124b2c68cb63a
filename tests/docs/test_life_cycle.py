"""The page about the life cycle says of states what the table of transitions says."""

import re

from kms.domain.states import SERVED, TRANSITIONS, KeyState
from tests.docs.pages import DOCS

_ROW = re.compile(r"^\| `([a-z-]+)` \| (yes|no)[^|]* \| ([^|]*) \|$", re.MULTILINE)


def test_the_page_has_every_state_with_its_transitions_and_whether_it_is_served() -> None:
    page = (DOCS / "life-cycle.md").read_text("utf-8")
    found = {
        KeyState(state): (served == "yes", set(re.findall(r"`([a-z-]+)`", targets)))
        for state, served, targets in _ROW.findall(page)
    }
    assert found == {
        state: (state in SERVED, {one.value for one in targets})
        for state, targets in TRANSITIONS.items()
    }
