"""Names of the numbered public files in the state directory: the highest number counts.

They are only ever added to: ``key-list-2.jws`` stands beside ``key-list-1.jws``.
"""

import re
from collections.abc import Iterable

KEY_LIST = "key-list-{}.jws"
REGISTER = "register-{}.jws"
SITE_ROOT = "site-root-{}.pem"
ESCROW_BLOB = "escrow-{}.kwp"
DISK_ESCROW_BLOB = "disk-escrow-{}.kwp"
ESCROW_BLOBS = (ESCROW_BLOB, DISK_ESCROW_BLOB)
"""The private halves of one generation, for meetings and for disks."""
ESCROW_RECORD = "escrow-{}.json"


def share_book(secret: str, generation: int) -> str:
    """Return the pattern of the share books of a secret's generation, numbered by split."""
    return f"shares-{secret}-{generation}-{{}}.json"


def numbers(names: Iterable[str], pattern: str) -> list[int]:
    """Return the numbers of the files of a pattern, in order."""
    head, tail = pattern.split("{}")
    spelled = re.compile(re.escape(head) + r"([1-9][0-9]{0,8})" + re.escape(tail), re.ASCII)
    return sorted(int(found[1]) for name in names if (found := spelled.fullmatch(name)))


def newest(names: Iterable[str], pattern: str) -> int:
    """Return the highest number of the files of a pattern, 0 if there is none."""
    return max(numbers(names, pattern), default=0)
