"""A browser page that remembers what it asked for and what it complained of."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def browser_or_skip(sync_api: Any) -> Iterator[Any]:
    """Chromium of the system, else the one that playwright has installed; no browser, no test."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except sync_api.Error as error:
            pytest.skip(f"needs Chromium: {str(error).splitlines()[0]}")
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """One page."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.loads = 0
        page.on("request", lambda request: self.requests.append(request.url))
        page.on(
            "console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("load", lambda _: setattr(self, "loads", self.loads + 1))

    def open(self, url: str) -> None:
        self.page.goto(url)

    def see(self, text: str, seconds: float = 20.0) -> None:
        """Wait until a text is on the page."""
        self.page.wait_for_function(
            "text => document.body.innerText.includes(text)", arg=text, timeout=1000 * seconds
        )

    def until(self, what: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something is true."""
        for _ in range(int(10 * seconds)):
            if what():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError("waited in vain")

    def scroll_through(self) -> None:
        """See every figure: they are drawn when they come into view."""
        height = self.page.evaluate("document.documentElement.scrollHeight")
        for y in range(0, height, 500):
            self.page.evaluate("y => scrollTo(0, y)", y)
            self.page.wait_for_timeout(30)
        self.page.evaluate("scrollTo(0, 0)")

    def traces(self, metric: str) -> int:
        """Lines in the first figure of a metric."""
        return int(self.page.evaluate(
            """metric => {
              const panel = [...document.querySelectorAll('.panel')].find((p) => p.dataset.metric === metric);
              panel?.scrollIntoView();
              return panel?.querySelector('.figure')?.data?.length ?? 0;
            }""", metric,
        ))  # fmt: skip

    def press(self, label: str) -> None:
        self.page.get_by_role("button", name=label, exact=True).click()

    def background(self) -> str:
        return str(self.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    def overflow(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def violations(self) -> list[str]:
        """What axe-core finds against WCAG 2 A and AA; nothing where it is not installed."""
        try:
            from axe_playwright_python.sync_playwright import Axe
        except ImportError:
            return []
        asked = {"runOnly": ["wcag2a", "wcag2aa"], "resultTypes": ["violations"]}
        found = Axe().run(self.page, options=asked).response["violations"]
        return [f"{v['id']}: {[n['html'][:120] for n in v['nodes']]}" for v in found]

    def strangers(self, url: str) -> list[str]:
        """Requests to anybody but the server at `url`."""
        return [r for r in self.requests if not r.startswith((url, "data:", "blob:"))]


@contextmanager
def watched(browser: Any, width: int, scheme: str) -> Iterator[Watched]:
    """A fresh page of a width in a colour scheme."""
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    try:
        yield Watched(context.new_page())
    finally:
        context.close()
