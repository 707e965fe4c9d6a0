"""Debian's chromium, and what every test of the page asks of it."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from playwright.sync_api import expect, sync_playwright
from support.services import PATIENCE

ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
WIDTHS = {"wide": (1280, 800), "narrow": (400, 800)}
SCHEMES = ("light", "dark")
IMAGES = Path(__file__).parents[2] / "docs" / "images"

expect.set_options(timeout=PATIENCE * 1000)


def chromium_path():
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "no chromium; sh scripts/ensure-chromium.sh installs it"
    return found


@contextlib.contextmanager
def browser():
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
        try:
            yield started
        finally:
            started.close()


class Watched:
    """A page, and what must not happen in it: errors, broken rules of the CSP, other hosts."""

    def __init__(self, browser, url, width="wide", scheme="light"):
        wide, high = WIDTHS[width]
        self.context = browser.new_context(
            viewport={"width": wide, "height": high}, color_scheme=scheme, reduced_motion="reduce"
        )
        self.context.set_default_timeout(PATIENCE * 1000)
        self.page = self.context.new_page()
        self.url = url
        self.errors = []
        self.strangers = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._on_console)
        self.page.on("request", self._on_request)

    def _on_console(self, message):
        # What the network says of a server that is gone, or asks for a key, is expected.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def _on_request(self, request):
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.strangers.append(request.url)

    def go(self, place):
        self.page.goto(f"{self.url}#/{place}")
        return self.page

    def close(self):
        self.context.close()
        assert self.errors == []
        assert self.strangers == []


@contextlib.contextmanager
def watched(browser, url, width="wide", scheme="light"):
    page = Watched(browser, url, width, scheme)
    try:
        yield page
    except BaseException:
        page.context.close()
        raise
    page.close()


def is_too_wide(page):
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")
