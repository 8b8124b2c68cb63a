"""How many sessions nobody has signed in to are kept: so many in all, and a share an address."""

from collections import OrderedDict

from kms.domain.addresses import neighbourhood

MOST = 8000
MOST_OF_ADDRESS = 2000


class Crowd:
    """The ids of anonymous sessions, by address. The oldest one of the same address gives way, so
    that whoever begins many of them takes from few others the one that they sign in by.
    """

    def __init__(self) -> None:
        self._ids: OrderedDict[str, str] = OrderedDict()
        self._by_address: dict[str, OrderedDict[str, None]] = {}

    def add(self, token: str, address: str) -> list[str]:
        """Add a session; return those that give way."""
        shared = neighbourhood(address)
        self._ids[token] = shared
        own = self._by_address.setdefault(shared, OrderedDict())
        own[token] = None
        leaving = [next(iter(own))] if len(own) > MOST_OF_ADDRESS else []
        if not leaving and len(self._ids) > MOST:
            leaving = [next(iter(self._ids))]
        return leaving

    def remove(self, token: str) -> None:
        """Forget a session, if it is one of these."""
        shared = self._ids.pop(token, None)
        if shared is None:
            return
        own = self._by_address[shared]
        del own[token]
        if not own:
            del self._by_address[shared]
