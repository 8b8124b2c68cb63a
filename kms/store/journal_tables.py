"""The journal's tables and statements, in stdlib SQL: none scans a table (tests ask for the plans).

Leaves are found by one column's index within a range of numbers; what else is asked is looked at
row by row, of so many rows at most.
"""

from typing import Final

VERSION = 2
"""Of the tables; a file of another version is made anew."""
SCHEMA = (
    """CREATE TABLE leaves (
         seq INTEGER PRIMARY KEY, time TEXT NOT NULL, action TEXT NOT NULL, actor TEXT NOT NULL,
         space TEXT NOT NULL, resource TEXT NOT NULL, meeting TEXT, phase TEXT NOT NULL,
         outcome TEXT NOT NULL, code TEXT NOT NULL, recipient TEXT NOT NULL)""",
    "CREATE INDEX leaves_action ON leaves (action)",
    "CREATE INDEX leaves_actor ON leaves (actor)",
    "CREATE INDEX leaves_space ON leaves (space)",
    "CREATE INDEX leaves_outcome ON leaves (outcome)",
    "CREATE INDEX leaves_meeting ON leaves (meeting) WHERE meeting IS NOT NULL",
    """CREATE INDEX leaves_report ON leaves (meeting)
       WHERE action = 'media.report' AND outcome = 'succeeded'""",
    """CREATE INDEX leaves_opening ON leaves (substr(meeting, -8))
       WHERE action = 'meeting.open' AND outcome = 'succeeded'""",
    """CREATE TABLE tallies (
         action TEXT, hour TEXT, space TEXT, outcome TEXT, reason TEXT, number INTEGER NOT NULL,
         PRIMARY KEY (action, hour, space, outcome, reason)) WITHOUT ROWID""",
    """CREATE TABLE samples (
         grain INTEGER, name TEXT, subject TEXT, time INTEGER, value REAL NOT NULL,
         number INTEGER NOT NULL,
         PRIMARY KEY (grain, name, subject, time)) WITHOUT ROWID""",
    "CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER, root BLOB)",
    f"PRAGMA user_version={VERSION}",
)
DERIVED = ("DELETE FROM leaves", "DELETE FROM tallies", "DELETE FROM head")
"""Empties what comes from the log; samples do not."""

PUT_LEAF = "INSERT INTO leaves VALUES (?,?,?,?,?,?,?,?,?,?,?)"
PUT_TALLY = """INSERT INTO tallies VALUES (?,?,?,?,?,?) ON CONFLICT DO
               UPDATE SET number = number + excluded.number"""
PUT_HEAD = "INSERT OR REPLACE INTO head VALUES (1, ?, ?)"
HEAD = "SELECT size, root FROM head WHERE one = 1"
NUMBER = "SELECT count(*), coalesce(max(seq) + 1, 0) FROM leaves"
LEAF = "SELECT * FROM leaves WHERE seq = ?"
TIME = "SELECT time FROM leaves WHERE seq = ?"

DRIVERS: Final = ("meeting", "outcome", "actor", "action", "space")
"""The columns with an index, those that leave fewest rows first."""
_RANGE = "seq < :high AND seq >= :low"


def _from(driver: str) -> str:
    """Return from where rows come, by number within a range."""
    if not driver:
        return f"FROM leaves NOT INDEXED WHERE {_RANGE}"
    return f"FROM leaves INDEXED BY leaves_{driver} WHERE {driver} = :{driver} AND {_RANGE}"


def floor(driver: str) -> str:
    """Return the statement that finds the leaf ``:most`` rows back."""
    return " ".join(("SELECT seq", _from(driver), "ORDER BY seq DESC LIMIT 1 OFFSET :most"))


def search(driver: str, others: str) -> str:
    """Return the statement of a search, ``others`` being further conditions."""
    return " ".join(("SELECT seq", _from(driver), others, "ORDER BY seq DESC LIMIT :limit"))


REPORT = """SELECT seq FROM leaves INDEXED BY leaves_report
            WHERE meeting = ? AND action = 'media.report' AND outcome = 'succeeded' AND space = ?
            ORDER BY seq DESC LIMIT 1"""
OPENED = """SELECT space, meeting FROM leaves INDEXED BY leaves_opening
            WHERE substr(meeting, -8) = substr(:ending, -8) AND action = 'meeting.open'
            AND outcome = 'succeeded' AND substr(meeting, -length(:ending)) = :ending
            AND (:spaces IS NULL OR space IN (SELECT value FROM json_each(:spaces)))
            ORDER BY seq DESC LIMIT :limit"""
DEEDS = " ".join(
    (
        "SELECT actor, action, outcome, recipient, count(*), min(seq), max(seq),",
        "min(time), max(time)",
        _from("meeting"),
        "AND action IN (SELECT value FROM json_each(:actions)) AND (:space = '' OR space = :space)",
        "GROUP BY actor, action, outcome, recipient ORDER BY max(seq) DESC LIMIT :limit",
    )
)


_TALLIED = """SELECT substr(strftime('%Y-%m-%dT%H', hour || ':00', :ahead), 1, :width),
              tallies.column, sum(number) FROM tallies
              WHERE action IN (SELECT value FROM json_each(:actions))
              AND hour >= :since AND hour < :until
              AND (:spaces IS NULL OR space IN (SELECT value FROM json_each(:spaces)))
              GROUP BY 1, 2 ORDER BY 1, 2"""


def tallied(by: str) -> str:
    """Return the statement that sums up tallies by one of their columns."""
    return _TALLIED.replace("column", by)


PUT_SAMPLE = """INSERT INTO samples VALUES (?,?,?,?,?,1) ON CONFLICT DO UPDATE SET
                value = (value * number + excluded.value) / (number + 1), number = number + 1"""
DROP_SAMPLES = "DELETE FROM samples WHERE grain = ? AND name = ? AND subject = ? AND time < ?"
SAMPLES = """SELECT time / :step * :step, avg(value) FROM samples
             WHERE grain = :grain AND name = :name AND subject = :subject
             AND time >= :since AND time < :until GROUP BY 1 ORDER BY 1"""
