"""Sets of roles that pages are for."""

from kms.domain.models import Role

ANYBODY: frozenset[Role] = frozenset()
PEOPLE = frozenset({Role.OFFICER, Role.AUDITOR, Role.OPERATOR})
OVERSEERS = frozenset({Role.OFFICER, Role.AUDITOR})
OFFICERS = frozenset({Role.OFFICER})
AUDITORS = frozenset({Role.AUDITOR})
