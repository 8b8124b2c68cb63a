"""What the native parser of policies is never given, and that it copes with whatever it is given:
each text is tried in a process apart, since a parser that fails takes its process with it.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from kms.errors import InvalidInput
from kms.policy import apart
from kms.policy.apart import Texts, check_apart, run_apart
from kms.policy.bounds import MAX_ALL_LINKS, MAX_CHAIN, MAX_LINKS, MAX_NAME, check_bounds
from kms.policy.source import Shipped

MANY = 20_000
TOO_LONG = "too long|more than|at most"


def policy(condition: str, name: str = "x") -> str:
    return f'@id("{name}") forbid (principal, action, resource) when {{ {condition} }};'


def chain(names: int) -> str:
    return "principal has " + ".".join("a" * names)


TANGLES: dict[str, Callable[[int], str]] = {
    "plus": lambda n: policy("1" + "+1" * n + " == 1"),
    "minus": lambda n: policy("1" + "-1" * n + " == 1"),
    "times": lambda n: policy("1" + "*1" * n + " == 1"),
    "sign": lambda n: policy("-" * n + "1 == 1"),
    "not": lambda n: policy("!" * n + "true"),
    "and": lambda n: policy("true" + "&&true" * n),
    "or": lambda n: policy("true" + "||true" * n),
    "equal": lambda n: policy("1" + "==1" * n),
    "in": lambda n: policy("1" + "in 1" * n),
    "if": lambda n: policy("if true then 1else " * n + "1"),
    "dots": lambda n: policy("principal" + ".a" * n + " == 1"),
    "indices": lambda n: policy("principal" + '["a"]' * n + " == 1"),
    "calls": lambda n: policy("principal.a" + "()" * n),
    "has": lambda n: policy(chain(n)),
    "clauses": lambda n: policy("true").removesuffix(";") + "when{true}" * n + ";",
    "a remark hides nothing after a carriage return": lambda n: policy(
        "1 //\r" + "+1" * n + " == 1"
    ),
    "a quote in a remark opens nothing": lambda n: policy('1 // "\n' + "+1" * n + ' == 1 // "\n'),
}


@pytest.mark.parametrize("tangle", TANGLES.values(), ids=TANGLES)
@pytest.mark.parametrize("times", [MAX_LINKS + 1, MANY])
def test_a_tangled_text_never_reaches_the_parser(
    tangle: Callable[[int], str], times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "run_apart", None)
    with pytest.raises(InvalidInput, match=TOO_LONG):
        check_apart([("site", tangle(times))])


def test_a_chain_and_a_whole_text_have_their_own_limits() -> None:
    check_bounds(policy(chain(MAX_CHAIN + 1)), "site")
    with pytest.raises(InvalidInput, match="in a chain"):
        check_bounds(policy(chain(MAX_CHAIN + 2)), "site")
    own = policy("1" + "+1" * 90 + " == 1")
    check_bounds(own * (MAX_ALL_LINKS // 100), "site")
    with pytest.raises(InvalidInput, match=f"more than {MAX_ALL_LINKS}"):
        check_bounds(own * 50, "site")


def test_long_sets_and_words_in_strings_are_no_tangle() -> None:
    callers = ", ".join(f'Caller::"teller-{number}"' for number in range(1500))
    text = policy(f'principal in [{callers}] && principal.region == "{"1+1 && if has " * 300}"')
    check_apart([("site", text)])


# --- the process apart ----------------------------------------------------------------------------


def _crash(_: Texts) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _freeze(_: Texts) -> None:
    time.sleep(60)


@pytest.mark.parametrize("read", [_crash, _freeze], ids=["dies", "freezes"])
def test_a_process_that_does_not_come_back_means_no(
    read: Callable[[Texts], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "SECONDS", 2.0)
    with pytest.raises(InvalidInput, match="too complex"):
        run_apart(read, [])


def test_what_the_process_refuses_is_said_as_it_said_it() -> None:
    with pytest.raises(InvalidInput, match=r"site: .*wen"):
        check_apart([("site", policy("true").replace("when", "wen"))])


# --- whatever passes the limits, the parser can bear ----------------------------------------------

ATOMS = (
    "1", "true", '"a"', "principal", "principal.department", "principal.auth.strength",
    "principal has auth.strength", 'principal in Role::"officer"', 'resource["region"]',
    "context has reason", "[1, 2]", '{a: 1, "b": {c: 2}}', "principal.spaces.contains(resource)",
    'ip("10.0.0.1").isIpv4()', 'principal.region like "*a*"', "principal is Caller", "-1", "!true",
    "::", "@", "?principal", "\\", "\u202e", 'decimal("1.0")', "principal has a.b.c.d.e.f.g.h",
)  # fmt: skip
JOINTS = (
    " && ",
    " || ",
    " + ",
    " - ",
    " * ",
    " == ",
    " in ",
    " < ",
    ".",
    " has ",
    " like ",
    "[",
    "(",
)
WRAPS = ("({})", "[{}]", "if {0} then {0} else {0}", "!({})", "-({})", "[{}].containsAll([{}])")


def _expression(dice: random.Random, size: int) -> str:
    if size <= 1:
        return dice.choice(ATOMS)
    if dice.random() < 0.2:
        inner = _expression(dice, size // 3)
        return dice.choice(WRAPS).replace("{}", "{0}").format(inner)
    left = dice.randrange(1, size)
    return (
        _expression(dice, left)
        + dice.choice(JOINTS[: dice.choice((2, 7, 13))])
        + _expression(dice, size - left)
    )


def _random_texts(seed: int) -> list[str]:
    dice = random.Random(seed)
    return [
        "\n".join(
            policy(_expression(dice, dice.choice((2, 8, 60))), f"p{number}")
            for number in range(dice.choice((1, 3, 60)))
        )
        for _ in range(120)
    ]


def _widest(tangle: Callable[[int], str]) -> list[str]:
    """Return the most tangled texts that pass: of one policy, and as many policies as fit."""
    one = next(text for times in range(MAX_LINKS, 0, -1) if _passes(text := tangle(times)))
    for count in range(2 * MAX_ALL_LINKS // MAX_LINKS, 0, -1):
        many = "\n".join(one.replace('"x"', f'"x{number}"', 1) for number in range(count))
        if _passes(many):
            return [one, many]
    return [one]


def _passes(text: str) -> bool:
    try:
        check_bounds(text, "site")
    except InvalidInput:
        return False
    return True


def _large() -> list[str]:
    name = "a" * MAX_NAME
    numbers = ",".join(["1"] * 9000)
    fields = ",".join(f"a{number}:1" for number in range(MAX_LINKS - 20))
    records = ",".join(f"{{a{number}:1}}" for number in range(MAX_LINKS // 2 - 10))
    unknown = " || ".join([f"principal.{name} == 1"] * 60)
    actions = ",".join(f'Action::"{name}{number}"' for number in range(700))
    return [
        policy(f"[{numbers}].contains(1)"),
        policy(f"{{{fields}}}.{name} == {{a:1}}"),
        policy(f"[{records}].contains({{a:1}})"),
        policy("::".join("a" * 10_000) + '::"x" == principal'),
        policy('principal.region like "' + "*a" * 20_000 + '"'),
        policy("true").replace("action,", f"action in [{actions}],"),
        "".join(policy(unknown, f"p{number}") for number in range(8)),
        "".join(f'@a{number}("")' for number in range(MAX_LINKS - 10)) + policy("true"),
    ]


def _within_a_second(texts: Texts) -> None:
    shipped = Shipped.load()
    for source, text in texts:
        begun = time.process_time()
        with suppress(InvalidInput):
            shipped.with_site([(source, text)])
        if (took := time.process_time() - begun) >= 1:
            raise InvalidInput(f"{source} took {took:.1f} s: {text[:200]}")


@pytest.mark.parametrize("seed", range(4))
def test_no_random_text_within_the_limits_ends_or_holds_the_parser(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "SECONDS", 60.0)
    run_apart(_within_a_second, [("random", text) for text in _random_texts(seed)])


def test_no_text_at_the_limits_ends_or_holds_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "SECONDS", 60.0)
    texts = [(name, text) for name, tangle in TANGLES.items() for text in _widest(tangle)]
    large = [(f"large {number}", text) for number, text in enumerate(_large())]
    assert all(_passes(text) for _, text in texts + large)
    for part in (texts[::2], texts[1::2], large):
        run_apart(_within_a_second, part)
