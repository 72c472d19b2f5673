"""A real browser: Debian's Chromium through Playwright; tests skip with a reason where there is none."""

import shutil

import pytest

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")  # two of playwright at once refuse each other
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install '.[dev]')")
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as run:
        started = run.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield started
        started.close()


class Tab:
    """A page with everything it asked for and complained about."""

    def __init__(self, browser, path, **how):
        how = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light", **how}
        self.context = browser.new_context(**how)
        self.page = self.context.new_page()
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on(
            "console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text)
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())


@pytest.fixture(scope="module")
def shelf():
    """path → a tab that tests left as they found it."""
    tabs = {}
    yield tabs
    for tab in tabs.values():
        tab.context.close()


@pytest.fixture
def shared_page(browser, shelf):
    """shared_page(path) → a page on a desk in light, loaded (5 s of CPU time) only if a test has changed it."""
    used = []

    def opened(path):
        if path not in shelf:
            shelf[path] = Tab(browser, path)
            shelf[path].page.wait_for_selector("#figure-curves .plot-container")
            shelf[path].page.evaluate("window.asFound = document.documentElement.outerHTML")
        used.append(path)
        return shelf[path].page

    yield opened
    for path in used:
        page = shelf[path].page
        if not page.evaluate("scrollY === 0 && document.documentElement.outerHTML === window.asFound"):
            shelf.pop(path).context.close()


@pytest.fixture
def open_page(browser):
    """open_page(path, viewport=…, color_scheme=…) → Tab."""
    tabs = []

    def opened(path, **how):
        tabs.append(Tab(browser, path, **how))
        return tabs[-1]

    yield opened
    for tab in tabs:
        tab.context.close()
