"""The people of a dry run: there are none."""

from kms.ceremonies.ports import ShareCard
from kms.errors import Abandoned


class Nobody:
    """Nobody is there: checks need nobody, and whatever asks anybody is abandoned."""

    def say(self, text: str) -> None:
        """Say it to nobody."""

    def confirm(self, who: str, phrase: str, text: str) -> None:
        """Raise Abandoned."""
        del phrase, text
        raise Abandoned(f"{who} is not asked in a dry run")

    def ask(self, who: str, text: str) -> str:
        """Raise Abandoned."""
        del text
        raise Abandoned(f"{who} is not asked in a dry run")

    def give_card(self, card: ShareCard) -> None:
        """Raise Abandoned."""
        raise Abandoned(f"{card.holder} gets no card in a dry run")

    def take_words(self, who: str, text: str) -> str:
        """Raise Abandoned."""
        del text
        raise Abandoned(f"{who} is not asked in a dry run")

    def progress(self, text: str, done: int, total: int) -> None:
        """Show it to nobody."""
