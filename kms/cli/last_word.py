"""A person's word that they looked: the last of the eight words of a digest, typed."""

import sys

from kms.errors import Abandoned
from kms.i18n import _

_TRIES = 3


def ask_last_word(person: str, sha256: bytes, text: str, hint: str) -> None:
    """Return once the person typed the last of the words; raise Abandoned with the hint."""
    from kms.ceremonies.people.words import digest_words  # noqa: PLC0415 -- heavy

    wanted = digest_words(sha256)[-1]
    for _try in range(_TRIES):
        print(f"⌨ {person}: {text}", end=" ", file=sys.stderr, flush=True)  # noqa: T201 -- a prompt
        typed = sys.stdin.readline()
        if typed.strip().lower() == wanted:
            return
        if not typed:
            break
        print(_("That is not the last of the eight words above."), file=sys.stderr)  # noqa: T201 -- to a person
    raise Abandoned("the last word was not typed: nothing was signed", hint=hint)
