"""Which function carries out which operation that needs approval, and what follows it."""

from kms.usecases import grants, policies, sharing
from kms.usecases.approvals.effect import Afterwards, Prepare
from kms.usecases.disks import enrolling, erasing
from kms.usecases.lifecycle import certificates, destruction, holds, suspension
from kms.usecases.reports import exporting
from kms.usecases.rotation import vaults

EFFECTS: dict[str, Prepare] = {
    "epoch.resume": suspension.prepare_resume,
    "epoch.destroy": destruction.prepare_epoch,
    "meeting.destroy": destruction.prepare_meeting,
    "hold.lift": holds.prepare_lift,
    "policy.change": policies.prepare_policy,
    "site-policy.change": policies.prepare_site_policy,
    "grant.create": grants.prepare_grant,
    "meeting.share": sharing.prepare_share,
    "vault.retire": vaults.prepare_retire,
    "disk.enroll": enrolling.prepare_enroll,
    "disk.erase": erasing.prepare_erase,
    "report.unmask": exporting.prepare_unmask,
}
"""Every operation of kms/domain/approvals.RULES that can be carried out here."""

AFTERWARDS: dict[str, Afterwards] = {
    "epoch.destroy": certificates.certify,
    "meeting.destroy": certificates.certify,
    "meeting.share": sharing.give_next_key,
    "vault.retire": vaults.destroy_retired,
    "disk.erase": erasing.destroy_keks,
}
"""What remains to be done once the effect is durable; done again at start if a crash cut it off."""
