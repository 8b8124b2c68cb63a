"""Templates to pages. Everything is escaped; a name that a template does not know is an error."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kms.i18n import _
from kms.site_time import zone_name, zone_seconds
from kms.web import words
from kms.web.names import called, display
from kms.web.reasons import reason

HERE = Path(__file__).parent


@cache
def environment() -> Environment:
    """Return the one environment of templates."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["_"] = _
    made.globals["zone_name"] = zone_name
    made.globals["zone_seconds"] = zone_seconds
    made.globals["icon"] = words.icon
    filters = (
        words.word, words.moment, words.machine, words.duration, words.countdown, words.short,
        words.count, words.hexadecimal, words.advice, words.said,
    )  # fmt: skip
    made.filters.update({one.__name__: one for one in filters})
    made.filters["many"] = len
    made.filters["display"] = display
    made.filters["called"] = called
    made.filters["reason"] = reason
    for name in made.list_templates():  # at start, so that a fault in one shows then, not to people
        made.get_template(name)
    return made


def render(template: str, values: dict[str, Any]) -> str:
    """Return a page's HTML."""
    return environment().get_template(template).render(values)
