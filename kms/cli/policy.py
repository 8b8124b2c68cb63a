"""policy: who may do what, and why; checked, tried out and shown before it is approved."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kms.cli.inputs import checked, read_text
from kms.cli.output import Column, word
from kms.cli.policy_words import decision, sentences, space_fields, verdict
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.errors import VerificationFailed
from kms.i18n import _

if TYPE_CHECKING:
    from kms.policy.source import Policy, Shipped

_POLICIES = (
    Column("Policy", "id"),
    Column("Effect", "effect", word),
    Column("Stands in", "source"),
)
_CASES = (
    Column("Case", "name"),
    Column("Expected", "expected", decision),
    Column("Decision", "decision", decision),
    Column("By", "policies"),
    Column("Result", "holds", verdict),
)

FilesArgument = Annotated[list[Path], typer.Argument(help="Files of Cedar policies.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    policies = group("Policies: who may do what, when keys rotate, who must approve.")
    register(policies, "show", show)
    register(policies, "check", check)
    register(policies, "test", run_cases)
    register(policies, "explain", explain)
    register(policies, "parameters", parameters)
    app.add_typer(policies, name="policy")


def show(
    session: Session,
    space: Annotated[
        str | None, typer.Argument(help="The space's name; without it the access policies.")
    ] = None,
) -> None:
    """Show the policy in force; --json prints the parameters of its change, to be edited."""
    if space is None:
        _show_site(session)
        return
    with session.client() as client:
        found = client.policy(space)
    document = {"policy": found.policy.model_dump(mode="json"), "version": found.version + 1}
    columns, row = space_fields(found)
    session.output.record(document, row, columns)
    if not found.version:
        session.output.note(_("The space has no policy of its own: these are the defaults."))


def _show_site(session: Session) -> None:
    with session.client() as client:
        found = client.site_policy()
    rows = [entry.model_dump(mode="json") for entry in found.policies]
    session.output.table({"text": found.text, "version": found.version + 1}, rows, _POLICIES)


def check(session: Session, files: FilesArgument) -> None:
    """Check a site's own policies; with --config also that its officers could change them again."""
    shipped, policies = _read(files)
    if session.options.config is not None:
        _check_way_back(session, shipped, policies)
    own = [_entry(policy) for policy in policies[len(shipped.policies) :]]
    session.output.table({"items": own}, own, _POLICIES)
    text = _("They fit the schema, beside {count} policies that come with Conclave.")
    session.output.note(text.format(count=len(shipped.policies)))


def parameters(session: Session, files: FilesArgument) -> None:
    """Print the parameters of a site-policy.change to these policies."""
    _read(files)
    with session.client() as client:
        version = client.site_policy().version + 1
    document = {"text": _joined(files), "version": version}
    session.output.document(document, json.dumps(document, ensure_ascii=False))


def run_cases(
    session: Session,
    cases: Annotated[Path, typer.Argument(help="File of cases (TOML).")],
    policies: Annotated[
        list[Path] | None,
        typer.Option(help="File of a site's own Cedar policies; may be given several times."),
    ] = None,
) -> None:
    """Hold policies to cases: who would do what, and what must come of it."""
    from kms.policy.authorizer import Authorizer  # noqa: PLC0415 -- loads the policy engine
    from kms.policy.cases import read_cases  # noqa: PLC0415 -- loads the policy engine

    authorizer = Authorizer(*_read(policies or []))
    found = [(case, case.ask(authorizer)) for case in read_cases(read_text(cases))]
    rows: list[dict[str, Any]] = [
        {
            "name": case.name,
            "expected": case.expect == "allow",
            "decision": answer.permitted,
            "policies": " ".join(policy.id for policy in answer.deciding) or None,
            "holds": case.holds(answer),
        }
        for case, answer in found
    ]
    session.output.table({"items": rows}, rows, _CASES)
    failed = sum(not case.holds(answer) for case, answer in found)
    if failed:
        raise VerificationFailed(f"{failed} of {len(found)} cases came out otherwise")


def explain(
    session: Session,
    principal: Annotated[
        str, typer.Argument(help="Who: a caller of the configuration, or server:NAME.")
    ],
    operation: Annotated[str, typer.Argument(help="What, such as meeting.close.")],
    space: Annotated[str | None, typer.Argument(help="Where; nothing for the site's own.")] = None,
    on_roster: Annotated[
        bool, typer.Option("--on-roster", help="As if the recipient were on the roster.")
    ] = False,
    own_recipient: Annotated[
        bool, typer.Option("--own-recipient", help="As if the envelope were the caller's own.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why a key would be rotated.")] = "",
) -> None:
    """Tell why somebody may do something, or may not: which policies decide, what others want."""
    from kms.wire.policies import Explain  # noqa: PLC0415 -- loads the validation library

    question = checked(
        Explain,
        principal=principal,
        operation=operation,
        space=space,
        on_roster=on_roster,
        own_recipient=own_recipient,
        reason=reason,
    )
    with session.client() as client:
        answer = client.explain(question)
    text = "\n".join(sentences(question, answer))
    session.output.document(answer.model_dump(mode="json"), text)


def _read(files: Sequence[Path]) -> "tuple[Shipped, tuple[Policy, ...]]":
    from kms.policy.apart import check_apart  # noqa: PLC0415 -- loads the policy engine
    from kms.policy.source import Shipped  # noqa: PLC0415 -- loads the policy engine

    texts = [(path.name, read_text(path)) for path in files]
    check_apart(texts)
    shipped = Shipped.load()
    return shipped, shipped.with_site(texts)


def _joined(files: Sequence[Path]) -> str:
    return "\n\n".join(read_text(path) for path in files) + "\n"


def _check_way_back(session: Session, shipped: "Shipped", policies: "tuple[Policy, ...]") -> None:
    from kms.policy.authorizer import Authorizer  # noqa: PLC0415 -- loads the policy engine
    from kms.usecases.policies import check_way_back  # noqa: PLC0415 -- loads the policy engine

    check_way_back(Authorizer(shipped, policies), session.settings().caller)


def _entry(policy: "Policy") -> dict[str, str]:
    return {"id": policy.id, "effect": policy.effect, "source": policy.source}
