"""How the appliance hears of orders and seals. Kms is a fake here."""

import pytest

from appliance.orders import BoxSealed, News, OrderWatch, Unheard
from kms.errors import Sealed, Unavailable
from kms.wire.disks import Orders


class Desk:
    """Answers in turn; remembers which version was asked behind."""

    def __init__(self, *answers: Orders | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []

    def take_orders(self, version: int, wait: int) -> Orders:
        assert wait > 0
        self.asked.append(version)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def orders(version: int) -> Orders:
    return Orders(version=version, orders=(), sealed=())


def heard(desk: Desk) -> list[News]:
    """Ask until the answers are used up."""
    told: list[News] = []
    watch = OrderWatch(desk, told.append)
    while desk.answers:
        news, _ = watch._ask()
        if news is not None:
            told.append(news)
    return told


def test_only_what_has_changed_is_told() -> None:
    desk = Desk(orders(3), orders(3), orders(4))
    assert heard(desk) == [orders(3), orders(4)]
    assert desk.asked == [0, 3, 3]


def test_a_silence_is_told_once_and_its_end_too() -> None:
    desk = Desk(orders(3), Unavailable("down"), Unavailable("down"), orders(3))
    assert heard(desk) == [orders(3), Unheard("unavailable"), orders(3)]
    assert desk.asked == [0, 3, 0, 0]


def test_a_sealed_box_is_told_and_what_comes_after_it_anew() -> None:
    desk = Desk(orders(3), Sealed("sealed"), orders(3))
    assert heard(desk) == [orders(3), BoxSealed(), orders(3)]


def test_pauses_grow_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(*(Unavailable("down") for _ in range(7)))
    watch = OrderWatch(desk, lambda _news: None)
    pauses = [watch._ask()[1] for _ in range(7)]
    assert pauses == [0.2, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0]


def test_it_tells_whether_it_asks() -> None:
    watch = OrderWatch(Desk(*(Unavailable("down") for _ in range(9))), lambda _news: None)
    assert not watch.alive()
    watch.start()
    assert watch.alive()
    watch.stop()
    watch._thread.join(5)
    assert not watch.alive()
