"""The printed form of a destruction certificate."""

from kms.ceremonies.paper.printout import moment
from kms.ceremonies.steps.certificate import Certificate
from kms.documents.paper import Heading, Paper, Paragraph, SignatureLines, Table
from kms.i18n import _


def certificate_paper(certificate: Certificate) -> Paper:
    """Return the certificate in the present language, with a line to sign for each of the three."""
    people = (certificate.executor, certificate.supervisor, certificate.auditor)
    return Paper(
        title=_("Certificate of destruction"),
        kind=certificate.site,
        footer=f"{certificate.site} · {certificate.ceremony}",
        framed=True,
        blocks=(
            Table(
                (),
                (
                    (_("Ceremony"), f"`{certificate.ceremony}`"),
                    (_("Destroyed at"), moment(certificate.time)),
                    (_("Destroyed by"), certificate.executor),
                    (_("Under the eyes of"), certificate.supervisor),
                    (_("Checked by"), certificate.auditor),
                ),
                (1, 3),
            ),
            Heading(1, _("What was destroyed")),
            Table(
                (_("What"), _("Where"), _("How"), _("Id")),
                tuple(
                    (_(one.what), _(one.place), _(one.method), f"`{one.id}`")
                    for one in certificate.content
                ),
                (3, 2, 3, 4),
            ),
            Heading(1, _("Older backups")),
            Paragraph(_(certificate.backups)),
            SignatureLines(people, _("Date")),
        ),
    )
