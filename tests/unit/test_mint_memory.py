"""What the worker remembers is bounded and forgets what was unused longest."""

from kms.hsm.roster_check import Latest


def test_what_was_unused_longest_is_forgotten_first():
    memory: Latest[str, int] = Latest(2)
    memory.put("a", 1)
    memory.put("b", 2)
    assert memory.get("a") == 1
    memory.put("c", 3)
    assert memory.get("b") is None
    assert (memory.get("a"), memory.get("c")) == (1, 3)


def test_a_value_is_replaced_without_forgetting_others():
    memory: Latest[str, int] = Latest(2)
    memory.put("a", 1)
    memory.put("b", 2)
    memory.put("a", 5)
    assert (memory.get("a"), memory.get("b")) == (5, 2)
