"""Where a ceremony is not held: hosts that would keep its secrets in core files or in swap."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kms.cli.host import check_card_folder, is_offline_image, refuse_swap
from kms.errors import ConfigurationError
from kms.hardening import lies_in_memory, swap_areas

ROOT = Path(__file__).parents[2]
HEAD = "Filename\tType\tSize\tUsed\tPriority\n"


@pytest.fixture
def swapping(tmp_path: Path) -> Path:
    table = tmp_path / "swaps"
    table.write_text(f"{HEAD}/dev/sda2 partition 1000 0 -2\n/swapfile file 1000 0 -3\n")
    return table


@pytest.fixture
def still(tmp_path: Path) -> Path:
    table = tmp_path / "none"
    table.write_text(HEAD)
    return table


def run(code: str) -> "subprocess.CompletedProcess[str]":
    """Check hosts in a process of its own: it cannot be undone."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip


_CHECK = """
import resource
from pathlib import Path
from kms.cli.host import check_host
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
check_host(accept_swap={accept}, swaps=Path({table!r}))
print("fine")
"""


def test_swap_areas_are_those_of_the_kernels_table(swapping: Path, still: Path) -> None:
    assert swap_areas(swapping) == ("/dev/sda2", "/swapfile")
    assert swap_areas(still) == ()


def test_a_kernel_without_a_table_does_not_swap(tmp_path: Path) -> None:
    assert swap_areas(tmp_path / "nothing") == ()


def test_a_host_that_could_swap_the_process_is_refused_unless_told(
    swapping: Path, still: Path
) -> None:
    refused = run(_CHECK.format(accept=False, table=str(swapping)))
    assert "memory could be swapped to disk: /dev/sda2, /swapfile" in refused.stderr
    assert run(_CHECK.format(accept=True, table=str(swapping))).stdout == "fine\n"
    assert run(_CHECK.format(accept=False, table=str(still))).stdout == "fine\n"


def test_the_refusal_says_what_to_do(swapping: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        refuse_swap("memory could be swapped to disk", swapping)
    assert "swapoff -a" in caught.value.hint


def test_a_process_that_was_checked_leaves_no_core_whatever_the_kernel_does_with_it() -> None:
    code = _CHECK.format(accept=True, table="/proc/swaps")
    ended = run(f"{code}\nfrom kms.hardening import leaves_core\nassert not leaves_core()\n"
                "import os; os.abort()")  # fmt: skip
    assert ended.returncode == -signal.SIGABRT
    assert "fine" in ended.stdout


def test_a_process_that_was_not_checked_counts_as_one_that_leaves_a_core() -> None:
    assert run("from kms.hardening import leaves_core; print(leaves_core())").stdout == "True\n"


def test_a_folder_for_cards_lies_in_memory_that_is_not_swapped(
    tmp_path: Path, swapping: Path, still: Path
) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or not lies_in_memory(memory) or lies_in_memory(tmp_path):
        pytest.skip("this machine has no folder in memory beside one on a disk")
    check_card_folder(memory, accept_swap=False, swaps=still)
    check_card_folder(memory, accept_swap=True, swaps=swapping)
    with pytest.raises(ConfigurationError, match="could be swapped"):
        check_card_folder(memory, accept_swap=False, swaps=swapping)
    with pytest.raises(ConfigurationError, match="not a folder in memory"):
        check_card_folder(tmp_path, accept_swap=True, swaps=still)


def test_only_its_marker_makes_a_host_the_offline_image(tmp_path: Path) -> None:
    marker = tmp_path / "ceremony-image"
    assert not is_offline_image(marker)
    os.close(os.open(marker, os.O_CREAT))
    assert is_offline_image(marker)
