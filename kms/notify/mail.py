"""Notices as e-mail through a relay on the local network, which needs no password."""

import logging
import smtplib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from functools import partial

from kms.i18n import Language
from kms.notify.addresses import resolve
from kms.notify.thread import OneThread
from kms.usecases.watch.channel import DeliveryError, Notice, Wishes

_LOG = logging.getLogger(__name__)
_SEVERITY = {
    Language.ZH: {"critical": "严重", "warning": "警告", "notice": "提示"},
    Language.EN: {"critical": "critical", "warning": "warning", "notice": "notice"},
}


@dataclass(frozen=True, slots=True)
class Mail:
    """A ``Channel``."""

    wishes: Wishes
    site: str
    host: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    timeout: float = 10.0
    _thread: OneThread = field(default_factory=OneThread, repr=False, compare=False)

    async def send(self, notices: Sequence[Notice]) -> None:
        """Hand every message to the relay; raise DeliveryError."""
        messages = [self.message(notice) for notice in notices]
        try:
            await self._thread.run(partial(self._hand_over, messages))
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(f"{type(error).__name__} at {self.host}") from error

    def message(self, notice: Notice) -> EmailMessage:
        """Return a notice as a message; its Message-ID is the same whenever it is sent again."""
        severity = _SEVERITY[self.wishes.language][notice.severity]
        message = EmailMessage()
        message["Subject"] = f"[Conclave {severity}] {notice.title} {notice.space}".rstrip()
        message["From"] = self.sender
        message["To"] = ", ".join(self.recipients)
        message["Date"] = format_datetime(datetime.fromisoformat(notice.time))
        if notice.seq >= 0:
            message["Message-ID"] = f"<leaf-{notice.seq}@{self.site}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(self._text(notice))
        return message

    def _text(self, notice: Notice) -> str:
        facts = {"site": self.site, "time": notice.time, "kind": notice.kind, "leaf": notice.seq}
        lines = [notice.title, *filter(None, [notice.text]), ""]
        lines += [f"{name}: {value}" for name, value in facts.items()]
        lines += [f"space: {notice.space}"] if notice.space else []
        return "\n".join([*lines, *(f"{k}: {v}" for k, v in notice.fields.items())]) + "\n"

    def _hand_over(self, messages: list[EmailMessage]) -> None:
        place = resolve(self.host, self.port)
        with smtplib.SMTP(place.address, self.port, timeout=self.timeout) as relay:
            for message in messages:
                refused = relay.send_message(message, self.sender, list(self.recipients))
                for address in refused:
                    _LOG.error("the relay refuses the recipient %s", address)
