"""To be written."""

from kms.web.visit import Page

PAGES: tuple[Page, ...] = ()
