"""The configuration: one strict TOML file, read once, no secrets in it.

The sentence below a key is its meaning in docs/settings.md. The tables stand in one module a
subject; here are the whole file and the checks between its tables.
"""

from pathlib import Path

from kms.domain.ids import parse_space
from kms.errors import ConfigurationError, InvalidInput
from kms.settings.api import Api, Caller, Tls
from kms.settings.assertion import Assertion, AssertionWebAuthn, check_assertion
from kms.settings.board import Board, BoardPerson, check_board
from kms.settings.keys import Disks, Hsm, Rotation, Token
from kms.settings.notify import Mail, Notify, Syslog, Watch, Webhook
from kms.settings.site import Audit, Ceremonies, Log, Paths, Reports, Site
from kms.settings.values import check_address, split_origin
from kms.strict import Section, read_toml

__all__ = [
    "DEFAULT_PATH",
    "Api",
    "Assertion",
    "AssertionWebAuthn",
    "Audit",
    "Board",
    "BoardPerson",
    "Caller",
    "Ceremonies",
    "Disks",
    "Hsm",
    "Log",
    "Mail",
    "Notify",
    "Paths",
    "Reports",
    "Rotation",
    "Settings",
    "Site",
    "Syslog",
    "Tls",
    "Token",
    "Watch",
    "Webhook",
    "check_address",
    "load",
    "split_origin",
]

DEFAULT_PATH = Path("/etc/conclave/conclave.toml")


class Settings(Section, frozen=True):
    """The whole file."""

    site: Site
    hsm: Hsm
    paths: Paths = Paths()
    api: Api = Api()
    audit: Audit = Audit()
    rotation: Rotation = Rotation()
    ceremonies: Ceremonies = Ceremonies()
    disks: Disks = Disks()
    log: Log = Log()
    watch: Watch = Watch()
    notify: Notify = Notify()
    assertion: Assertion | None = None
    board: Board | None = None
    reports: Reports = Reports()
    caller: tuple[Caller, ...] = ()

    @property
    def site_token(self) -> Token:
        """The site's own token."""
        return next(token for token in self.hsm.tokens if not token.space)

    @property
    def space_tokens(self) -> tuple[Token, ...]:
        """The tokens of spaces."""
        return tuple(token for token in self.hsm.tokens if token.space)


def load(path: Path) -> Settings:
    """Return the checked settings of a file; raise ConfigurationError with the field's name."""
    settings = read_toml(path, Settings)
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    if sum(not token.space for token in settings.hsm.tokens) != 1:
        raise ConfigurationError("exactly one [[hsm.tokens]] is the site's own (no space)")
    for names in (
        [token.label for token in settings.hsm.tokens],
        [token.space for token in settings.space_tokens],
        [str(caller.uid) for caller in settings.caller],
        [one.name for one in settings.notify.channels],
    ):
        if len(set(names)) != len(names):
            raise ConfigurationError("tokens, spaces, callers and channels are each named once")
    try:
        for token in settings.space_tokens:
            parse_space(token.space)
    except InvalidInput as error:
        raise ConfigurationError(error.message) from error
    if settings.api.tls:
        check_address(settings.api.tls.address)
    if settings.board:
        check_board(settings.board)
    if settings.assertion:
        check_assertion(settings.assertion, settings.board)
