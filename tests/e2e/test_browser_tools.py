"""That the browser's fixtures see what they are there to see. A page of the test's own is served;
the board's pages stand in other files.
"""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser

from tests.fixtures import browser as fixtures
from tests.fixtures.browser import AXE, barriers, browser, visiting

__all__ = ["browser"]

_HEAD = "<!doctype html><html lang=en><title>t</title><main><h1>t</h1>"
PAGES = {
    "/clean": f"{_HEAD}<p>Nothing here.</p></main></html>",
    "/foreign": f"{_HEAD}<img src=http://127.0.0.1:9/x.png alt=x></main></html>",
    "/inline": f"{_HEAD}<script>window.ran = 1</script></main></html>",
    "/barrier": f"{_HEAD}<img src=/clean></main></html>",
    "/dialog": f"{_HEAD}<script src=/script.js></script></main></html>",
    "/script.js": "alert('boo')",
    "/favicon.ico": "",
}


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        kind = "text/javascript" if self.path.endswith(".js") else "text/html; charset=utf-8"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", "default-src 'self'; img-src *")
        self.end_headers()
        self.wfile.write(PAGES[self.path].encode())

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 -- as it is called
        """Say nothing."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_clean_page_passes(browser: Browser, origin: str) -> None:
    with visiting(browser, origin) as visitor:
        visitor.page.goto("/clean")
        assert barriers(visitor.page) == []


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/foreign", "requests off"),
        ("/inline", "Content Security Policy"),
        ("/dialog", "dialogs.*boo"),
    ],
)
def test_what_a_page_must_not_do_fails_the_test(
    browser: Browser, origin: str, path: str, told: str
) -> None:
    with pytest.raises(AssertionError, match=told), visiting(browser, origin) as visitor:
        visitor.page.goto(path)


def test_what_a_test_expects_does_not_fail_it(browser: Browser, origin: str) -> None:
    with visiting(browser, origin) as visitor:
        visitor.watch.expect("Content Security Policy")
        visitor.page.goto("/inline")


def test_barriers_are_found(browser: Browser, origin: str) -> None:
    with visiting(browser, origin) as visitor:
        visitor.page.goto("/barrier")
        assert [one.partition(":")[0] for one in barriers(visitor.page)] == ["image-alt"]


def test_the_vendored_file_is_the_one_that_is_described() -> None:
    told = (AXE.parent / "README.md").read_text("utf-8")
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() in told


def test_without_chromium_continuous_integration_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixtures.shutil, "which", lambda _name: None)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        fixtures.find_chromium()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        fixtures.find_chromium()
