"""init_practice: a complete practice site in one call. An ordinary site, but for its banner.

Refuses to touch a folder that it did not make, and a half-made site unless told to start over.
"""

import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

from kms.errors import AlreadyExists, ConfigurationError
from kms.hsm.isolated import run_isolated
from kms.hsm.profile import load_profile
from kms.practice.config import draft_config
from kms.practice.files import PUBLIC, write_new
from kms.practice.layout import BANNER, PracticeSite
from kms.settings import load
from kms.statements import archive

SITE_ID = "practice.conclave.example"


def shipped_profile(name: str, places: tuple[Path, ...]) -> Path:
    """Return a file of ``hsm_profiles`` in the first place that has it, else in the last."""
    found = [place / "hsm_profiles" / name for place in places]
    return next((path for path in found if path.is_file()), found[-1])


PROFILE = shipped_profile("softhsm.toml", (Path(__file__).parents[2], Path(sys.prefix)))
"""In a clone beside ``kms``; of an installation in its virtual environment."""


def init_practice(
    directory: Path, *, fresh: bool = False, site_id: str = SITE_ID, profile: Path = PROFILE
) -> PracticeSite:
    """Make the site, or keep the complete one that is there; ``fresh`` deletes it first.

    Raise AlreadyExists for a half-made site or a folder with other things in it, ProfileError or
    HsmUnavailable on a machine without SoftHSM.
    """
    site = PracticeSite(directory.absolute(), site_id)
    if fresh:
        _delete(site)
    if site.config.exists():
        return _existing(site)
    if _in_use(site.directory):
        raise AlreadyExists(
            f"{directory} holds a half-made practice site or something else",
            hint="--fresh deletes a half-made practice site and starts over"
            if site.mark.is_file()
            else "choose a new or empty folder",
        )
    load_profile(profile)
    _make(site, profile)
    return site


def _existing(site: PracticeSite) -> PracticeSite:
    settings = load(site.config)
    settings.paths.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    return PracticeSite(site.directory, settings.site.id)


def _delete(site: PracticeSite) -> None:
    if not _in_use(site.directory):
        return
    if not site.mark.is_file():
        raise AlreadyExists(f"{site.directory} is not a practice site: nothing was deleted")
    for config in (site.config, site.draft):
        with suppress(ConfigurationError):  # not there, or not whole
            shutil.rmtree(load(config).paths.run, ignore_errors=True)
    shutil.rmtree(site.directory)


def _in_use(directory: Path) -> bool:
    return directory.exists() and any(directory.iterdir())


def _make(site: PracticeSite, profile: Path) -> None:
    from kms.practice.ceremony import hold_plans  # noqa: PLC0415 -- heavy

    draft = prepare(site, profile)
    run_isolated(site.environment, hold_plans, site, draft)
    root = site.state / archive.SITE_ROOT.format(1)
    write_new(site.site_root, root.read_bytes(), PUBLIC)
    draft.rename(site.config)


def prepare(site: PracticeSite, profile: Path) -> Path:
    """Write everything that its ceremonies need into a new folder; return the configuration."""
    from kms.practice import material  # noqa: PLC0415 -- heavy

    write_new(site.mark, f"{BANNER}\n".encode(), PUBLIC)
    material.write_softhsm(site)
    cards, servers = material.write_people(site), material.write_tls_and_servers(site)
    material.write_plans(site, cards, servers, material.write_device_ca(site), time.time())
    material.write_appliance_key(site)
    return draft_config(site, profile)
