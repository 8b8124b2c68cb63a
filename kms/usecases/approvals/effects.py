"""Which function carries out which operation that needs approval, and what follows it."""

from kms.usecases.approvals.effect import Afterwards, Prepare

EFFECTS: dict[str, Prepare] = {}
"""Every operation of kms/domain/approvals.RULES that can be carried out here."""

AFTERWARDS: dict[str, Afterwards] = {}
"""What remains to be done once the effect is durable; done again at start if a crash cut it off."""
