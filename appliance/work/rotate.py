"""Other keys for the slots of a disk; the volume key, and so what lies on the disk, stays.

Who has a copy of an older header and its key can still read the disk: only another volume key
(volume.py) ends that.
"""

from appliance.work.job import Job
from kms.errors import StateNotAllowed


def rotate_slot(job: Job) -> None:
    """Carry out the work SLOT.

    The old slot is wiped before the commit: kms then still knows both keys, while afterwards
    nothing would tell the old slot from the recovery slot, whose key is under escrow alone.
    """
    keys = job.held.keys
    if not job.disk.committed:
        job.bring((keys.next_key,), by=(keys.key,))
        job.tell(60, "wiping the old slot")
        job.wipe(keys.key, by=keys.next_key)
        job.commit()


def rotate_recovery(job: Job) -> None:
    """Carry out the work RECOVERY: a recovery key cannot be read back to be tested, so another one
    is made, tested and put under escrow, and the old one's slot is wiped.
    """
    keys = job.held.keys
    if not job.disk.committed:
        job.bring((keys.next_recovery,), by=(keys.key,))
        job.commit()
    job.tell(60, "wiping the old recovery slot")
    job.keep_only(job.held.keys.key, job.held.keys.recovery)


def rekey(job: Job) -> None:
    """Carry out the work RECOVER: another slot key and recovery key, by the recovery key that a
    quorum has recovered; then nothing else opens the disk, that key neither.
    """
    keys = job.held.keys
    if not job.disk.committed:
        if job.recovered is None and not job.opens(keys.next_key):
            raise StateNotAllowed(
                "the recovery waits for the recovered key",
                hint="order recover with the file that the ceremony wrote",
            )
        job.bring((keys.next_key, keys.next_recovery), by=(job.recovered, keys.key))
        job.commit()
    job.tell(60, "wiping the old slots")
    job.keep_only(job.held.keys.key, job.held.keys.recovery)
