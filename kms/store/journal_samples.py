"""The journal's samples: measurements for plots, which stand nowhere else."""

import math
from collections.abc import Iterable

from kms.ports.journal import Sample
from kms.store import journal_tables as sql
from kms.store.journal_file import JournalFile

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_KEPT = {_MINUTE: 8 * _DAY, _HOUR: 400 * _DAY}
"""For how long samples are kept: as they came, and the mean of each hour."""
_FINE = 2 * _DAY
"""A range up to this is answered from the samples as they came."""
_POINTS = 400


class JournalSamples:
    """The samples of a ``Journal``."""

    _file: JournalFile

    def put_samples(self, samples: Iterable[Sample]) -> None:
        """Keep samples, and drop those of the same name that are too old."""
        with self._file.writing() as connection:
            for one in samples:
                for grain, kept in _KEPT.items():
                    key = (grain, one.name, one.subject)
                    time = one.time - one.time % grain
                    connection.execute(sql.PUT_SAMPLE, (*key, time, one.value))
                    connection.execute(sql.DROP_SAMPLES, (*key, one.time - kept))

    def samples(
        self, name: str, since: int, until: int, subject: str = ""
    ) -> list[tuple[int, float]]:
        """Return a few hundred points at most."""
        grain = _MINUTE if until - since <= _FINE else _HOUR
        step = max(grain, math.ceil((until - since) / _POINTS))
        values = {"name": name, "subject": subject, "since": since, "until": until}
        with self._file.reading() as ask:
            return [(int(time), value) for time, value in ask(
                sql.SAMPLES, values | {"grain": grain, "step": step}
            )]  # fmt: skip
