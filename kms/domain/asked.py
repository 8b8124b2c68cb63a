"""What a request asks for, in words: for the terminal and for the board, from what was signed and
nothing else.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kms.domain.approvals import RULES
from kms.i18n import Language, _, language

IRREVOCABLE = frozenset(
    {
        "epoch.destroy",
        "meeting.destroy",
        "meeting.share",
        "vault.retire",
        "disk.enroll",
        "disk.erase",
    }
)
"""What nothing undoes. One approval at least is signed with a credential of the register: a passkey
signs unseen what its page gives it.
"""


def summary_of(operation: str) -> str:
    """Return what an operation does, in the present language."""
    rule = RULES.get(operation)
    if rule is None:
        return operation
    return rule.summary_en if language() is Language.EN else rule.summary_zh


def needs_in_words(needs: Iterable[Any]) -> str:
    """Return who must approve, or is missing."""
    return "; ".join(map(_need, needs)) or "-"


def missing_in_words(needs: Iterable[Any], *, lacks_credential: bool) -> str:
    """Return what a request still lacks: people, and a signature with a credential."""
    found = [*map(_need, needs)]
    if lacks_credential:
        found.append(_("an approval signed with a credential of the register"))
    return "; ".join(found) or "-"


def _need(need: Any) -> str:
    if need.space:
        text = _("{count} of group {group} for {space}")
        return text.format(count=need.count, group=need.group, space=need.space)
    return _("{count} of group {group}").format(count=need.count, group=need.group)


def flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every parameter with its path, such as ``policy.rotation.interval_seconds``; of a list
    its length, then what is in it, counted from 1.
    """
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from flat(item, f"{path}{name}.")
        elif isinstance(item, list | tuple):
            yield f"{path}{name}", len(item)
            for number, one in enumerate(item, 1):
                yield from flat({str(number): one}, f"{path}{name}.")
        else:
            yield f"{path}{name}", item
