"""Which rows an action of the life cycle changes, as its resource and details name them."""

from kms.audit.approvals import request_row
from kms.audit.leaf import Leaf
from kms.domain.policies import SITE_POLICY

_REQUESTS = frozenset({"approval.request", "approval.sign", "approval.cancel"})


def own_rows(leaf: Leaf) -> set[str]:  # noqa: PLR0911 -- one line a kind of resource
    """Return the rows that an action changes which its resource and details name."""
    request = leaf.details.get("request", "")
    approved = {request_row(leaf.space, request)} if "digest" in leaf.details and request else set()
    match leaf.resource.split("/"):
        case ["spaces", space, "requests", name] if leaf.action in _REQUESTS:
            return {request_row(space, name)}
        case ["requests", name] if leaf.action in _REQUESTS:
            return {request_row("", name)}
        case ["spaces", space, "policy"]:
            return {f"policy/{space}", *approved}
        case ["site-policy"]:
            return {f"site-policy/{SITE_POLICY}", *approved}
        case ["spaces", space, "grants", name]:
            return {f"grant/{space}/{name}", *approved}
        case ["spaces", space, "holds", name]:
            return {f"hold/{space}/{name}", *approved}
        case ["spaces", space, "recipients", name] if leaf.action == "vault.retire":
            return {f"recipient/{space}/{name}", *approved}
        case ["spaces", space] if leaf.action in {"space.seal", "space.unseal"}:
            return {f"space/{space}"}
        case ["spaces", space, "meetings", meeting] if leaf.action == "media.report":
            return {f"meeting/{space}/{meeting}"}
        case _:
            return set()
