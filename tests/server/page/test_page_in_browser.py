"""The page in headless Chromium; where there is none, its files are looked at instead."""

import asyncio

import pytest
from tests.server.page.browser import CHROMIUM, Browser
from tests.server.page.page_server import (
    ADMIN_KEY,
    KEY,
    FakeDirectory,
    FiguresEngine,
    PageServer,
    make_page_app,
    make_services,
)
from tests.server.page.static_analysis import STATIC, faults_of_page, faults_of_script

from realm.errors import EngineUnavailableError
from realm.server.definitions import Tenant
from realm.server.wire.messages import Figures

MODELS = ["smollm2", "smollm2:pirate", "smollm2:<b>bold</b>"]
ENTER, ESCAPE = ("Enter", 13), ("Escape", 27)


class Visit:
    """A tab at the page's start, and what the server behind it knows."""

    def __init__(self, browser, server, engine, directory):
        self.browser, self.server = browser, server
        self.engine, self.directory = engine, directory

    @property
    def calls(self):
        return [each.call for each in self.engine.generations]

    def enter_key(self, key=KEY):
        self.browser.type("#key", key)
        self.browser.press(*ENTER)

    def say(self, text):
        self.browser.wait_for("!document.querySelector('#message').disabled")
        self.browser.type("#message", text)
        self.browser.press(*ENTER)


def visit(browser, scenario, keys_required=True, at="/"):
    """Runs a scenario in a fresh tab; without a browser the files have to do."""
    if browser is None:
        page = (STATIC / "index.html").read_text()
        scripts = [faults_of_script(each.read_text(), page) for each in STATIC.glob("*.js")]
        assert faults_of_page(page) == []
        assert not any(scripts)
        return
    engine = FiguresEngine("The capital of France is <b>Paris</b>.")
    directory = FakeDirectory([Tenant("acme"), Tenant("globex")], keys_required, MODELS)
    app = make_page_app(make_services(engine, directory))
    with PageServer(app) as server:
        browser.requests.clear()
        browser.complaints.clear()
        browser.look(1200, 800)
        browser.open(server.address + at)
        try:
            scenario(browser, Visit(browser, server, engine, directory))
        finally:
            browser.evaluate("sessionStorage.clear()")
            own = server.address + "/"
            outside = [each for each in browser.requests if not each.startswith(own)]
            browser.open("about:blank")
    assert outside == []
    unexpected = [each for each in browser.complaints if "Failed to load resource" not in each]
    assert unexpected == []


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        yield None
        return
    with Browser() as opened:
        yield opened


def test_a_chat_streams(browser):
    def scenario(tab, visit):
        tab.wait_for("document.querySelector('#state').innerText === 'Key needed'")
        assert tab.evaluate("document.querySelector('#chat-error').hidden")
        visit.enter_key()
        visit.engine.gate = asyncio.Semaphore(2)
        visit.say("What is the capital of France?")
        tab.wait_for("document.querySelector('.answer .text')?.innerText === 'The capital'")
        assert tab.evaluate("document.querySelector('.answer').getAttribute('aria-busy')") == "true"
        assert not tab.evaluate("document.querySelector('#stop').hidden")
        for _ in range(6):
            visit.server.call(visit.engine.gate.release)
        tab.wait_for("document.querySelector('.facts').innerText.startsWith('6 tokens')")
        assert tab.text(".answer .text") == "The capital of France is <b>Paris</b>."
        assert "tokens/s" in tab.text(".facts")
        assert "first after" in tab.text(".facts")
        assert tab.evaluate("document.querySelector('.answer').hasAttribute('aria-busy')") is False
        assert float(tab.text("#rate").replace(",", "")) > 0
        (call,) = visit.calls
        assert (call.tenant_id, call.model, call.adapters) == ("acme", "smollm2", None)
        assert call.messages == [{"role": "user", "content": "What is the capital of France?"}]
        assert call.wants_pieces
        visit.say("And of Spain?")
        for _ in range(6):
            visit.server.call(visit.engine.gate.release)
        tab.wait_for("document.querySelectorAll('.facts').length === 2")
        tab.wait_for("document.querySelector('#stop').hidden")
        roles = [each["role"] for each in visit.calls[1].messages]
        assert roles == ["user", "assistant", "user"]

    visit(browser, scenario)


def test_stop_keeps_what_has_come(browser):
    def scenario(tab, visit):
        visit.enter_key()
        visit.engine.gate = asyncio.Semaphore(3)
        visit.say("Go on")
        tab.wait_for("document.querySelector('.answer .text')?.innerText === 'The capital of'")
        tab.press(*ESCAPE)
        tab.wait_for("document.querySelector('.facts').innerText.endsWith('stopped')")
        assert tab.evaluate("document.querySelector('#chat-error').hidden")
        assert not tab.evaluate("document.querySelector('#send').hidden")
        assert tab.text(".answer .text") == "The capital of"
        # The tab has gone from the answer, and the engine hears of it.
        assert visit.engine.cancelled.wait(20)

    visit(browser, scenario)


def test_settings_and_adapters(browser):
    def scenario(tab, visit):
        visit.enter_key()
        tab.wait_for("document.querySelectorAll('.chip').length === 2")
        assert tab.evaluate("document.querySelectorAll('.chip')[1].innerText") == "<b>bold</b>"
        tab.click(".chip")
        assert tab.evaluate("document.querySelector('#model').value") == "smollm2:pirate"
        tab.click(".settings summary")
        tab.type("#system", "Be brief.")
        tab.evaluate("document.querySelector('#max-tokens').value = '12'")
        tab.evaluate("document.querySelector('#temperature').value = '0'")
        visit.say("Hello")
        tab.wait_for("document.querySelector('.facts')?.innerText.startsWith('6 tokens')")
        (call,) = visit.calls
        assert (call.model, call.adapters) == ("smollm2", [("pirate", 1.0)])
        assert call.messages[0] == {"role": "system", "content": "Be brief."}
        assert call.options["max_tokens"] == 12
        assert call.options["temperature"] == 0

    visit(browser, scenario)


@pytest.mark.parametrize("key", ["wrong", "realm_ключ", "x" * 5000])
def test_a_key_that_opens_nothing(browser, key):
    def scenario(tab, visit):
        visit.enter_key(key)
        tab.wait_for("!document.querySelector('#chat-error').hidden")
        assert tab.text("#state") == "Key needed"
        assert tab.evaluate("document.querySelector('#message').disabled")
        assert tab.evaluate("sessionStorage.length") == 0

    visit(browser, scenario)


def test_the_key_stays_in_the_tab_and_can_be_forgotten(browser):
    def scenario(tab, visit):
        visit.enter_key()
        tab.wait_for("document.querySelector('#key-name').innerText === 'Key in use'")
        tab.reload()
        tab.wait_for("document.querySelector('#key-name').innerText === 'Key in use'")
        assert tab.evaluate("localStorage.length") == 0
        assert tab.evaluate("document.cookie") == ""
        assert KEY not in tab.evaluate("document.documentElement.outerHTML")
        assert not any(KEY in each for each in tab.requests)
        tab.click("#key-forget")
        tab.wait_for("document.querySelector('#state').innerText === 'Key needed'")
        assert tab.evaluate("sessionStorage.length") == 0
        assert tab.evaluate("document.activeElement.id") == "key"

    visit(browser, scenario)


def test_no_key_where_none_is_needed(browser):
    def scenario(tab, visit):
        tab.wait_for("document.querySelector('#key-name').innerText === 'No key needed'")
        visit.say("Hello")
        tab.wait_for("document.querySelector('.facts')?.innerText.startsWith('6 tokens')")

    visit(browser, scenario, keys_required=False)


def test_an_engine_that_is_lost_in_the_middle(browser):
    def scenario(tab, visit):
        visit.enter_key()
        visit.engine.error = EngineUnavailableError("the engine was lost")
        visit.engine.error_after = 2
        visit.say("Hello")
        tab.wait_for("document.querySelector('#chat-error').innerText === 'the engine was lost'")
        tab.wait_for("document.querySelector('.facts').innerText.endsWith('failed')")
        assert tab.text(".answer .text") == "The capital"
        visit.engine.error_after = 0
        visit.say("Again")
        tab.wait_for("document.querySelector('#message').value === 'Again'")
        assert tab.evaluate("document.querySelectorAll('.turn').length") == 2

    visit(browser, scenario)


def test_the_live_panel(browser):
    def scenario(tab, visit):
        speculation = {"by_source": {"suffix": {"drafted": 10, "accepted": 7}}}
        told = {"live_guests": 3, "queued_requests": 2, "requests": 41, "cache_bytes": 3_400_000}
        figures = {"acme": {**told, "speculation": speculation}}
        visit.engine.now = Figures(0, figures, {"batch_fill": 0.42})
        visit.enter_key()
        tab.wait_for("document.querySelector('#fill-text').innerText === '42 %'")
        assert tab.text("#accepted-text") == "70 %"
        assert tab.evaluate("document.querySelector('#fill').ariaValueNow") == "42"
        shown = [tab.text(f"#own-{each}") for each in ("running", "queued", "requests", "cache")]
        assert shown == ["3", "2", "41", "3.4 MB"]
        visit.engine.now = None
        tab.wait_for("document.querySelector('#state').innerText === 'Engine starting'")
        visit.engine.now = Figures(0, {}, {"batch_fill": 1.0})
        tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        tab.wait_for("document.querySelector('#state').innerText === 'Ready'")

    visit(browser, scenario)


def test_the_administrators_view(browser):
    def scenario(tab, visit):
        assert tab.evaluate("document.querySelector('#chat-view').hidden")
        assert tab.evaluate("document.title") == "Realm, administration"
        tab.type("#admin-key", "wrong")
        tab.press(*ENTER)
        tab.wait_for("!document.querySelector('#admin-error').hidden")
        tab.evaluate("document.querySelector('#admin-key').value = ''")
        visit.engine.now = Figures(0, {"globex": {"live_guests": 1}}, {"batch_fill": 0.055})
        tab.type("#admin-key", ADMIN_KEY)
        tab.press(*ENTER)
        tab.wait_for("document.querySelectorAll('#tenants tr').length === 2")
        names = "[...document.querySelectorAll('#tenants th')].map((each) => each.innerText)"
        assert tab.evaluate(names) == ["globex", "acme"]
        assert tab.text("#all-fill") == "5.5 %"
        tab.type("#search", "ACM")
        tab.wait_for("document.querySelectorAll('#tenants tr').length === 1")
        assert tab.evaluate(names) == ["acme"]
        tab.click("#admin-forget")
        assert tab.evaluate("sessionStorage.length") == 0
        assert tab.evaluate("document.querySelectorAll('#tenants tr').length") == 0

    visit(browser, scenario, at="/#admin")


def test_narrow_windows_need_no_sideways_scrolling(browser):
    def scenario(tab, visit):
        for width in (320, 500, 900):
            tab.look(width, 700)
            wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            assert tab.evaluate(wide) is False

    visit(browser, scenario)


def test_every_control_can_be_reached_and_has_a_name(browser):
    def scenario(tab, visit):
        visit.enter_key()
        tab.wait_for("!document.querySelector('#message').disabled")
        tab.send("Accessibility.enable")
        nodes = tab.send("Accessibility.getFullAXTree")["nodes"]
        roles = {"button", "textbox", "combobox", "searchbox", "spinbutton", "link", "meter"}
        controls = [
            (each["role"]["value"], each["name"]["value"])
            for each in nodes
            if not each["ignored"] and each["role"]["value"] in roles
        ]
        assert len(controls) > 8
        assert all(name for _, name in controls), controls
        assert ("textbox", "Message") in controls
        assert ("combobox", "Model") in controls

    visit(browser, scenario)
