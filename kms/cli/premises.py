"""What a command of ceremonies knows of its site: from the configuration, or, on a machine that has
none, from a folder of the site's public files. It only reads.
"""

from dataclasses import dataclass
from pathlib import Path

from kms.bootstrap.files import StateFiles
from kms.ceremonies.catalogue import CEREMONIES, read_brief
from kms.ceremonies.ceremony import Ceremony
from kms.ceremonies.plan import Plan, parse_plan
from kms.ceremonies.record.folder import CEREMONIES as FOLDER
from kms.ceremonies.record.folder import Folder
from kms.ceremonies.room import Brief, SiteBinding
from kms.ceremonies.steps.state import current_register, key_list, register_of
from kms.cli.session import Session
from kms.domain.people import CredentialKind, Register
from kms.errors import InvalidInput, NotFound
from kms.settings import Rotation
from kms.statements import archive

MAX_PLAN = 256 << 10


@dataclass(frozen=True, slots=True)
class Premises:
    """A site as far as it is known. ``state`` holds its numbered files and its ceremonies;
    ``register`` is None before the first.
    """

    binding: SiteBinding
    state: Path
    register: Register | None
    token: str
    spaces: tuple[str, ...]

    @property
    def absent(self) -> tuple[str, ...]:
        """The spaces that have a token in the configuration and are not made yet."""
        return tuple(one for one in self.binding.tokens if one and one not in self.spaces)

    @property
    def generation(self) -> int:
        """The escrow generation in force; 0 before the first."""
        return _newest(self.state, archive.ESCROW_RECORD)

    def brief(self, plan: Plan) -> Brief:
        """Return what is known before a plan is held; of a ceremony that was called, with the
        register that it was called under. Raise InvalidInput, VerificationFailed.
        """
        register, token = self._register_of(plan.file.id)
        return read_brief(plan, register, token, self.binding)

    def _register_of(self, ceremony: str) -> tuple[Register | None, str]:
        try:
            wanted = Folder(self.state / FOLDER / ceremony).request().register
        except NotFound:
            return self.register, self.token
        return register_of(StateFiles(self.state), wanted) if wanted else (None, "")


def site_premises(session: Session, folder: Path | None) -> Premises:
    """Return the premises by the configuration, or by a folder of public files; raise
    ConfigurationError, NotFound, VerificationFailed.
    """
    if folder is None:
        from kms.bootstrap.ceremony import site_binding  # noqa: PLC0415 -- for this way alone

        settings = session.settings()
        return _premises(site_binding(settings), settings.paths.state)
    if not folder.is_dir():
        raise NotFound(f"{folder} is not a folder", hint="copy the site's public files into one")
    return _premises(_stand_in(folder), folder)


def _premises(binding: SiteBinding, state: Path) -> Premises:
    if not _newest(state, archive.REGISTER):
        return Premises(binding, state, None, "", ())
    files = StateFiles(state)
    register, token = current_register(files)
    if register.site != binding.site:
        raise InvalidInput(f"the register is of {register.site}, the configuration of another site")
    spaces = tuple(dict.fromkeys(key.space for key in key_list(files).keys if key.space))
    return Premises(binding, state, register, token, spaces)


def _stand_in(folder: Path) -> SiteBinding:
    """Return a binding as the service's own configuration would most likely give it."""
    if not _newest(folder, archive.REGISTER):
        raise NotFound(
            f"{folder} has no register of people",
            hint="copy site-root-N.pem, register-N.jws and key-list-N.jws of the site there",
        )
    files = StateFiles(folder)
    register, _token = current_register(files)
    spaces = {key.space for key in key_list(files).keys if key.space}
    kinds = {key.kind for person in register.people for key in person.credentials}
    return SiteBinding(
        site=register.site,
        tokens={"": "site", **{space: f"space-{space}" for space in sorted(spaces)}},
        epoch_seconds=Rotation().epoch_seconds,
        software_credentials=CredentialKind.SOFTWARE in kinds,
        offline_image=False,
    )


def _newest(folder: Path, pattern: str) -> int:
    names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
    return archive.newest(names, pattern)


def read_plan(path: Path) -> Plan:
    """Return the plan of a file; raise InvalidInput, OSError."""
    with path.open("rb") as file:
        return parse_plan(file.read(MAX_PLAN + 1))


def kind_of(name: str) -> Ceremony:
    """Return a kind by its name; raise NotFound that names all."""
    try:
        return CEREMONIES[name]
    except KeyError:
        raise NotFound(
            f"there is no ceremony of kind {name}", hint=f"kinds: {', '.join(CEREMONIES)}"
        ) from None


def founding_brief(plan: Plan) -> Brief:
    """Return the brief of a site's first ceremony on a machine that need not know the site: the
    plan itself names everybody. Raise InvalidInput, VerificationFailed.
    """
    binding = SiteBinding(
        site=plan.file.site,
        tokens={"": "site"},
        epoch_seconds=Rotation().epoch_seconds,
        software_credentials=True,
        offline_image=False,
    )
    return read_brief(plan, None, "", binding)


def register_named(state: Path, wanted: str) -> Register:
    """Return the register whose JWS has this digest; raise NotFound, VerificationFailed."""
    return register_of(StateFiles(state), wanted)[0]
