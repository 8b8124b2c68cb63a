"""Turns functions into commands: translated help, the global options, errors as exit codes."""

import inspect
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from kms.cli.exits import Exit, exit_of
from kms.cli.options import Options
from kms.cli.output import Output
from kms.cli.session import Session
from kms.domain.approvals import RULES, PolicyChange, SitePolicyChange
from kms.errors import AlreadyExists, ConclaveError, Forbidden, InvalidInput, NotFound
from kms.i18n import _

_UsageError: Any = typer.BadParameter.__mro__[1]
"""What Typer raises for a wrong command line; it has no public name."""


class _Translated:
    """Shows the help of every option in the present language, Typer's own options included."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters; translating a translation changes nothing."""
        found = super().get_params(ctx)  # type: ignore[misc] # of the class it is mixed into
        for one in found:
            one.help = _(one.help or "")
            one.rich_help_panel = _(one.rich_help_panel or "") or None
        return found

    def make_context(self, *args: Any, **values: Any) -> Any:
        """Read the command line; raise what is wrong with it in the present language."""
        try:
            return super().make_context(*args, **values)  # type: ignore[misc] # as above
        except _UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                raise
            raise _UsageError(_told(error.format_message()), error.ctx) from None


def _told(text: str) -> str:
    """Return what Typer says of a command line, whose commonest texts it cannot translate."""
    if found := re.fullmatch(r"Missing (?:option|argument) (.+?)\.(?: .*)?", text, re.DOTALL):
        return _("{name} is missing.").format(name=found[1])
    if found := re.fullmatch(r"No such option: (\S+)(?: \(Possible options: (.*)\))?", text):
        said = _("There is no option {name}.").format(name=found[1])
        perhaps = _("Perhaps: {names}").format(names=found[2])
        return f"{said} {perhaps}" if found[2] else said
    wrong = r"Invalid value for (.+?)(?: \(env var: .+?\))?: (?:Value error, )?(.*)"
    if found := re.fullmatch(wrong, text, re.DOTALL):
        return _("{name} has a wrong value: {reason}").format(name=found[1], reason=found[2])
    return text


class Command(_Translated, TyperCommand):
    """A command."""


class Group(_Translated, TyperGroup):
    """A group of commands."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command; raise, for what is done by an approved request, how to ask for it."""
        operation = f"{ctx.info_name}.{args[0]}" if args else ""
        if operation in RULES and args[0] not in self.commands:
            text = _("This takes an approved request: {command}")
            raise _UsageError(text.format(command=asking(operation)), ctx)
        return super().resolve_command(ctx, args)


def asking(operation: str) -> str:
    """Return the command that asks for an operation, with what is to be filled in."""
    rule = RULES[operation]
    nested = rule.parameters in {PolicyChange, SitePolicyChange}
    names = [one.name for one in fields(rule.parameters)]
    given = ["--parameters FILE"] if nested else [f"--set {one}={one.upper()}" for one in names]
    space = () if rule.site else ("--space SPACE",)
    who = ("--reason WHY", "--person NAME", "--key FILE")
    return " ".join(("conclave approval request", operation, *space, *given, *who))


def group(text: str) -> typer.Typer:
    """Return an empty group of commands, described in the present language."""
    return typer.Typer(cls=Group, help=_(text), no_args_is_help=True, add_completion=False)


def register(
    app: typer.Typer, name: str, function: Callable[..., None], *, epilog: str = ""
) -> None:
    """Add a command. ``function`` takes a Session first; its docstring is the command's help.
    ``epilog`` stands at the end of that, in the present language. A parameter that is a dataclass
    stands for its fields.
    """
    taken = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    bundles: dict[str, Any] = {
        one.name: one.annotation for one in taken if is_dataclass(one.annotation)
    }
    own = [part for one in taken for part in _parts(one)]

    @wraps(function)
    def run(context: typer.Context, **values: Any) -> None:
        options = Options(**{one.name: values.pop(one.name) for one in global_options()})
        options = options.over(context.find_root().obj or Options())
        output = Output(as_json=options.json, quiet=options.quiet)
        for bundle, kind in bundles.items():
            values[bundle] = kind(**{one.name: values.pop(one.name) for one in fields(kind)})
        _guarded(output, lambda: function(Session(options, output), **values))

    describe(run, [*own, *global_options()])
    said = _(inspect.getdoc(function) or "")
    app.command(name, cls=Command, help=said, epilog=epilog or None)(run)


def _parts(one: inspect.Parameter) -> list[inspect.Parameter]:
    """Return the parameters of the command line that one of a function's stands for."""
    kind: Any = one.annotation
    if not is_dataclass(one.annotation):
        return [one]
    return list(inspect.signature(kind, eval_str=True).parameters.values())


def global_options() -> list[inspect.Parameter]:
    """Return the global options as parameters of a command."""
    return list(inspect.signature(Options, eval_str=True).parameters.values())


def describe(function: Callable[..., None], parameters: list[inspect.Parameter]) -> None:
    """Give a function the signature that Typer reads, behind Typer's own context."""
    kind = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter("context", kind, annotation=typer.Context)
    everything = [context, *(one.replace(kind=kind) for one in parameters)]
    function.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined] # inspect reads it
    function.__annotations__ = {one.name: one.annotation for one in everything}


def _guarded(output: Output, action: Callable[[], None]) -> None:
    """Show every error as one, and end with its exit code; nobody is shown a traceback."""
    try:
        action()
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except ConclaveError as error:
        output.problem(error)
        raise typer.Exit(exit_of(error)) from None
    except OSError as error:
        problem = _of_file(error)
        output.problem(problem)
        raise typer.Exit(exit_of(problem)) from None
    except Exception as error:  # noqa: BLE001 -- the last line of defence of a program for people
        output.problem(ConclaveError(f"unexpected {type(error).__name__}"))
        raise typer.Exit(Exit.INTERNAL) from None


def _of_file(error: OSError) -> ConclaveError:
    text = f"{error.filename}: {error.strerror}"
    match error:
        case FileNotFoundError():
            return NotFound(text)
        case FileExistsError():
            return AlreadyExists(text, hint="choose a new name: files are never overwritten")
        case PermissionError():
            return Forbidden(text)
        case _:
            return InvalidInput(text)
