"""How the test helpers are compiled, and what happens where they cannot be."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults import build, generate

BROKEN_HEADER = "struct ck_function_list { CK_C_Wrong C_Wrong; };"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    build.shim("slow_fsync")  # skips where nothing can be compiled
    file = tmp_path / "five.c"
    file.write_text("int five(void) { return 5; }\n")
    return file


def test_parallel_builders_agree_on_one_file(cache: Path, source: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        built = set(pool.map(build.library, [source] * 4))
    assert list(cache.glob("five-*")) == list(built)
    assert not [left for left in cache.iterdir() if left.is_dir()]


def test_a_built_helper_is_not_built_again(cache: Path, source: Path) -> None:
    first = build.library(source).stat().st_mtime_ns
    assert build.library(source).stat().st_mtime_ns == first


def test_a_changed_source_is_built_anew(cache: Path, source: Path) -> None:
    before = build.library(source)
    source.write_text("int five(void) { return 6; }\n")
    assert build.library(source) != before


def test_a_source_that_does_not_compile_is_an_error(cache: Path, source: Path) -> None:
    source.write_text("int five(void) { return }\n")
    with pytest.raises(build.BuildError, match=r"gcc refused five\.c"):
        build.library(source)


def test_without_gcc_a_test_is_skipped(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install gcc"):
        build.shim("slow_fsync")


def test_without_gcc_continuous_integration_fails(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(build.BuildError, match="gcc is missing"):
        build.shim("slow_fsync")


def test_every_function_of_the_header_is_forwarded() -> None:
    if not generate.HEADER.exists():
        pytest.skip("the PKCS#11 header is not installed: sudo apt-get install libp11-kit-dev")
    made = generate.wrappers(generate.HEADER.read_text())
    assert made.count("FORWARD(C_") == 67
    assert "FORWARD(C_WrapKey, (" in made


def test_a_function_without_declaration_is_refused() -> None:
    with pytest.raises(KeyError, match="C_Wrong"):
        generate.wrappers(BROKEN_HEADER)
