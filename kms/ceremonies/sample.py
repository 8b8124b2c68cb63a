"""The people and the site of the handbook's examples. Nobody here holds any key."""

from kms.ceremonies.ceremony import Ceremony
from kms.ceremonies.plan import parse_parameters, parse_plan
from kms.ceremonies.room import Brief, SiteBinding
from kms.domain.people import Credential, CredentialKind, Group, Part, Person, Register
from kms.statements.canonical import digest

_ISSUED = 1_790_000_000
_YEAR = 365 * 86_400

_PEOPLE = (
    ("chen-admin", "陈建国", Part.ADMINISTRATOR, "", 0),
    ("liu-witness", "刘洋", Part.WITNESS, "", 0),
    ("zhao-auditor", "赵静", Part.AUDITOR, "", 0),
    ("wang-security", "王芳", Part.OFFICER, "security", 1),
    ("sun-security", "孙磊", Part.OFFICER, "security", 2),
    ("zhou-security", "周敏", Part.OFFICER, "security", 3),
    ("wu-security", "吴刚", Part.OFFICER, "security", 4),
    ("zheng-security", "郑洁", Part.OFFICER, "security", 5),
    ("qian-legal", "钱进", Part.OFFICER, "legal", 1),
    ("feng-legal", "冯莉", Part.OFFICER, "legal", 2),
    ("han-legal", "韩梅", Part.OFFICER, "legal", 3),
)


def example_brief(ceremony: Ceremony) -> Brief:
    """Return what is known before a kind's example is held."""
    plan = parse_plan(ceremony.example.encode())
    parameters = parse_parameters(plan, ceremony.parameters)
    return Brief(plan, parameters, example_register(plan.file.site), "", _site(plan.file.site))


def example_register(site: str) -> Register:
    """Return a register of Security 3-of-5 and Legal 2-of-3."""
    groups = (Group("security", 3), Group("legal", 2))
    people = tuple(_person(*one) for one in _PEOPLE)
    return Register(site, 1, _ISSUED, "", "first-ceremony", groups, people)


def _person(name: str, display: str, part: Part, group: str, share: int) -> Person:
    key = Credential(digest(name.encode()), CredentialKind.TOKEN, "")
    drill, until = _ISSUED + _YEAR // 2, _ISSUED + 2 * _YEAR
    return Person(name, display, part, group, share, (key,), _ISSUED, until, drill)


def _site(site: str) -> SiteBinding:
    tokens = {
        "": "site",
        "treasury": "space-treasury",
        "investment-banking": "space-investment-banking",
    }
    return SiteBinding(site, tokens, 3600, software_credentials=False, offline_image=True)
