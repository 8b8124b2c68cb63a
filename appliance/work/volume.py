"""Another volume key: everything on the disk is encrypted anew, and all slots with it.

Afterwards no copy of an older header opens anything any more. It takes as long as reading and
writing the whole disk, which stays in use meanwhile if it is open; after an interruption the rest
is done while it is closed.
"""

from appliance.storage.header import Header, parse_region
from appliance.work.bench import passphrase
from appliance.work.job import Job
from kms.errors import IntegrityFailure, NotFound


def rotate_volume(job: Job) -> None:
    """Carry out the work VOLUME."""
    keys = job.held.keys
    if not job.disk.committed:
        job.bring((keys.next_key, keys.next_recovery), by=(keys.key,))
        job.commit()
    if job.header().reencrypts:
        _go_on(job)
    job.keep_only(job.held.keys.key, job.held.keys.recovery)
    if not _is_renewed(job):
        _reencrypt(job)


def _reencrypt(job: Job) -> None:
    keys = [key for key in (job.held.keys.key, job.held.keys.recovery) if key is not None]
    job.bench.luks.reencrypt(
        job.pinned.path,
        [passphrase(key) for key in keys],
        lambda percent: job.tell(percent, "encrypting anew"),
        name=job.name,
    )


def _go_on(job: Job) -> None:
    # First: with the old key's slots gone cryptsetup opens nothing until it is ended.
    if job.bench.luks.end_if_done(job.pinned.path):
        return
    key = job.opener((job.held.keys.key,))
    job.bench.luks.resume(
        job.pinned.path,
        passphrase(key),
        lambda percent: job.tell(percent, "encrypting anew, after an interruption"),
        name=job.name,
    )


def _is_renewed(job: Job) -> bool:
    """Whether the volume key is another one than that of the registered header; not by what the
    header says of itself, but by a backup of the registered one. Without that it is done again.
    """
    try:
        before = job.bench.backups.load(job.disk.disk, job.disk.header)
    except (NotFound, IntegrityFailure):
        return False
    return volume_digest(parse_region(before)) != volume_digest(job.header())


def volume_digest(header: Header) -> str:
    """Return what the volume key of the first segment is known by; empty if none is."""
    digests = header.metadata.digests.values()
    return next((one.digest for one in digests if "0" in one.segments), "")
