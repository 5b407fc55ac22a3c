"""The page's files: from this server alone, labelled, and with enough contrast."""

import asyncio

import httpx
import pytest
from tests.server.page.page_server import (
    FakeDirectory,
    FiguresEngine,
    make_page_app,
    make_services,
)
from tests.server.page.static_analysis import (
    STATIC,
    contrast,
    faults_of_page,
    faults_of_script,
    faults_of_style,
)

PAGE = (STATIC / "index.html").read_text()


def _get(*paths, method="GET", headers=None):
    async def ask():
        app = make_page_app(make_services(FiguresEngine(), FakeDirectory()))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://realm") as client:
            return [await client.request(method, path, headers=headers) for path in paths]

    return asyncio.run(ask())


def test_the_page_is_sound():
    assert faults_of_page(PAGE) == []


@pytest.mark.parametrize("name", sorted(path.name for path in STATIC.glob("*.js")))
def test_scripts_are_sound(name):
    assert faults_of_script((STATIC / name).read_text(), PAGE) == []


def test_the_style_sheet_is_sound():
    assert faults_of_style((STATIC / "style.css").read_text()) == []


@pytest.mark.parametrize(
    "spoiled",
    [
        "<script>alert(1)</script>",
        '<p style="color: red">x</p>',
        '<button onclick="x()">x</button>',
        '<script src="https://cdn.example/x.js"></script>',
        '<img src="//cdn.example/x.png" alt="">',
        '<input id="unlabelled">',
        '<p id="key">again</p>',
        "<button></button>",
        '<label for="nothing">x</label>',
    ],
)
def test_the_analysis_finds_what_is_wrong_in_a_page(spoiled):
    assert faults_of_page(PAGE + spoiled)


@pytest.mark.parametrize(
    "spoiled",
    [
        "node.innerHTML = text;",
        'fetch("https://elsewhere.example/")',
        'localStorage.setItem("key", key)',
        'element("no-such-element")',
        'import { x } from "/page/missing.js";',
        'import "other.js"',
    ],
)
def test_the_analysis_finds_what_is_wrong_in_a_script(spoiled):
    assert faults_of_script(spoiled, PAGE)


def test_the_analysis_finds_what_is_wrong_in_a_style_sheet():
    text = (STATIC / "style.css").read_text()
    assert faults_of_style(text.replace("--soft: #5f5b54", "--soft: #bfbbb4"))
    assert faults_of_style(text + "p { background: url(/x.png) }")
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_every_file_is_served_with_its_kind_and_policy():
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg"}
    names = sorted(path.name for path in STATIC.iterdir())
    answers = _get(*("/" if name == "index.html" else f"/page/{name}" for name in names))
    for name, answer in zip(names, answers, strict=True):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kinds[name.rpartition(".")[2]])
        assert answer.content == (STATIC / name).read_bytes()
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_file_that_is_known_is_not_sent_again():
    (first,) = _get("/page/style.css")
    (second,) = _get("/page/style.css", headers={"if-none-match": first.headers["etag"]})
    assert (second.status_code, second.content) == (304, b"")
    (third,) = _get("/page/style.css", headers={"if-none-match": '"another"'})
    assert third.status_code == 200
    (head,) = _get("/page/style.css", method="HEAD")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/index.html",
        "/page/../routes.py",
        "/page/..%2froutes.py",
        "/page/%2e%2e/routes.py",
        "/page/style.css/",
        "/page/style.css%00",
        "/page//etc/passwd",
        "/page/STYLE.CSS",
    ],
)
def test_nothing_else_is_served(path):
    (answer,) = _get(path)
    assert answer.status_code in (307, 404)
    assert b"import" not in answer.content
