"""The tables of the site itself: its name and time, folders, log, ceremonies and reports."""

from pathlib import Path
from typing import Annotated

import msgspec

from kms.domain.reports import Every
from kms.logs import Form, Level
from kms.settings.values import HOUR
from kms.strict import Section


class Site(Section, frozen=True):
    """The site itself."""

    id: str
    """Names the site in every statement and checkpoint; never changes."""
    banner: str = ""
    """Shown on every output, such as that of a practice site."""
    utc_offset_minutes: Annotated[int, msgspec.Meta(ge=-720, le=840)] = 480
    """By how many minutes the site's time, which people read at the board and in reports, is ahead
    of UTC."""


class Paths(Section, frozen=True):
    """Folders of the service."""

    state: Path = Path("/var/lib/conclave")
    """Holds the database and what ceremonies leave; only the service's user reads it."""
    run: Path = Path("/run/conclave")
    """Holds the sockets and endpoints.json; a socket's path has at most 107 bytes."""

    @property
    def database(self) -> Path:
        """Where the store lies."""
        return self.state / "conclave.db"

    @property
    def journal(self) -> Path:
        """Where the journal of the log lies: derived, made anew when it is gone."""
        return self.state / "board.db"

    @property
    def api_socket(self) -> Path:
        """Where local callers connect."""
        return self.run / "api.sock"

    def worker_socket(self, token: str) -> Path:
        """Where a token's worker listens."""
        return self.run / f"worker-{token}.sock"


class Audit(Section, frozen=True):
    """The audit log."""

    checkpoint_seconds: Annotated[float, msgspec.Meta(gt=0, le=HOUR)] = 5.0
    """How often a checkpoint is signed: so long is the tail that nothing protects yet."""
    grace_seconds: Annotated[float, msgspec.Meta(ge=1, le=HOUR)] = 30.0
    """How long a checkpoint may be overdue before key operations stop."""


class Log(Section, frozen=True):
    """What the processes write to stderr; nothing of it is needed as evidence."""

    format: Form = "json"
    """A JSON object a line, with time, level, process, logger and message; or text for people."""
    level: Level = "info"
    """Lines that are less grave are not written."""


class Ceremonies(Section, frozen=True):
    """Key ceremonies."""

    software_credentials: bool = False
    """Whether people may sign with keys that lie in files: for practice, not for real sites."""


class Reports(Section, frozen=True):
    """Compliance reports that the service makes by itself."""

    every: Every = Every.QUARTER
    """After which periods of the calendar a report is made: month, quarter or never."""
