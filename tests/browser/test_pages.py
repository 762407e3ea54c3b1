"""The pages that people open, in a real browser, of a study on a real model. Screenshots stay in results/screenshots."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from tests.paths import ROOT
from tests.small_demo import MODEL, RESULTS, snakemake

SHOTS = ROOT / "results/screenshots"
FIGURES = ("table1", "neurons", "choice", "figure3", "utility", "figure4")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs a browser: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Opens a page; at the end there must have been no error in its console, and nothing may have been fetched."""
    problems, contexts = [], []

    def open_page(path, viewport=DESK, scheme="light"):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda r: problems.append(r.url) if r.url.startswith("http") else None)
        page.goto(path.as_uri())
        page.wait_for_load_state("networkidle")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


@pytest.fixture(scope="module")
def report(small_demo):
    path = RESULTS / "report.html"
    snakemake("--report", str(path))
    return path


@pytest.fixture(scope="module")
def detections(small_demo):
    """Two answers, one with its claim named, as `hneurons detect --html` writes them."""
    path = RESULTS / "detections.html"
    asked = [
        {"question": "In which country is the city of Kano?", "response": "Kano is in <b>Japan</b>.", "answer": "Japan"},
        {"question": "In which country is the city of Lyon?"},
    ]
    command = [sys.executable, "-m", "hneurons.cli", "detect", "--model", str(MODEL / "checkpoint")]
    command += ["--neurons", str(MODEL / "published"), "-", "--html", str(path)]
    lines = "".join(json.dumps(one) + "\n" for one in asked)
    done = subprocess.run(command, input=lines, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path


def shot(page, name, full=False):
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=full)


def brightness(page, where):
    """Of the background behind an element, 0 to 255."""
    colour = page.evaluate(f"getComputedStyle(document.querySelector('{where}')).backgroundColor")
    return sum(map(float, colour.removeprefix("rgba(").removeprefix("rgb(").rstrip(")").split(",")[:3])) / 3


def test_every_figure_of_the_front_page_is_visible_and_says_what_it_shows(small_demo, opened):
    page = opened(RESULTS / "front.html")
    for name in FIGURES:
        image = page.locator(f"#figure-{name} img")
        image.scroll_into_view_if_needed()
        assert image.is_visible()
        assert image.evaluate("image => image.complete && image.naturalWidth > 100"), name
        assert len(page.locator(f"#figure-{name} figcaption").inner_text()) > 150
        assert re.search(r"\bn[:,] .*\d", page.locator(f"#figure-{name} figcaption").inner_text())
    shot(page, "front", full=True)


def test_tables_sort_and_search(small_demo, opened):
    page = opened(RESULTS / "front.html")
    rows = page.locator("#table1 tbody tr:visible")
    everything = rows.count()
    page.get_by_label("search the table table1").fill("elements random")
    assert 0 < rows.count() < everything
    page.get_by_label("search the table table1").fill("")
    head = page.locator("#table1 th", has_text="AUROC [95 %]").first
    column = page.locator("#table1 th").all_inner_texts().index(head.inner_text())

    def shown():
        return [float(text.split()[0]) for text in rows.locator(f"td:nth-child({column + 1})").all_inner_texts()]

    head.locator("button").click()
    assert shown() == sorted(shown())
    head.locator("button").click()
    assert shown() == sorted(shown(), reverse=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_front_page_on_a_phone(small_demo, opened, scheme):
    page = opened(RESULTS / "front.html", PHONE, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert (brightness(page, "body") < 60) == (scheme == "dark")
    shot(page, f"front-phone-{scheme}", full=True)


def test_the_front_page_leads_to_the_answers(small_demo, opened):
    page = opened(RESULTS / "front.html")
    page.get_by_role("link", name="test answers of smollm2-135m-instruct").click()
    page.locator("h1", has_text="Test answers of smollm2-135m-instruct").wait_for()


def test_answers_are_counted_drawn_and_sorted(small_demo, opened):
    page = opened(MODEL / "answers.html")
    rows = page.locator("#answers tbody tr:visible")
    everything = rows.count()
    counts = page.locator("#summary tbody td:nth-child(2)").all_inner_texts()
    assert sum(int(n) for text in counts for n in text.split(" + ")) == everything
    assert page.locator(".answer").count() == 10 and page.locator(".answer .response mark").count() == 10
    assert page.locator(".answer").first.locator("pre").inner_text().startswith(".venv/bin/hneurons detect ")
    assert page.locator(".command").count() == 1, "the command of the first answer drawn"
    head = page.locator("#answers th", has_text="p, probe")
    column = page.locator("#answers th").all_inner_texts().index(head.inner_text())
    for reverse in (False, True):
        head.locator("button").click()
        shown = [float(text) for text in rows.locator(f"td:nth-child({column + 1})").all_inner_texts()]
        assert shown == sorted(shown, reverse=reverse) and len(shown) == everything
    page.get_by_label("search the table answers").fill("elements miss")
    assert 0 < rows.count() < everything
    assert all("miss" in text for text in rows.all_inner_texts())
    shot(page, "answers", full=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_answers_on_a_phone(small_demo, opened, scheme):
    page = opened(MODEL / "answers.html", PHONE, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for box in page.locator(".answer, .answer pre, .answer dl").all():
        assert box.evaluate("e => e.scrollWidth <= e.clientWidth")
    assert (brightness(page, "body") < 60) == (scheme == "dark")
    shot(page, f"answers-phone-{scheme}", full=True)


def test_the_report_opens_with_the_front_page(report, opened):
    page = opened(report)
    frame = page.frame_locator("#front")
    frame.locator("h1", has_text="H-Neurons of smollm2").wait_for()
    assert frame.locator("#figure-figure3 img").evaluate("image => image.naturalWidth > 100")
    # As high as what it holds: one scroll bar.
    assert page.locator("#front").evaluate("f => f.clientHeight") > 3000
    # Files that the front page links to are in the report itself.
    assert frame.locator("a.page").count() == 0
    frame.get_by_text("They are in this report, under “Table 1: detection”").wait_for()
    shot(page, "report")
    page.get_by_text("Table 1: detection").first.click()
    page.get_by_text("table1.png").first.wait_for()
    page.get_by_text("answers.html").first.wait_for()
    shot(page, "report-results")


def test_the_report_on_a_phone(report, opened):
    page = opened(report, PHONE, "dark")
    page.frame_locator("#front").locator("h1").wait_for()
    assert page.locator("#front").evaluate("f => f.clientWidth") > 300
    shot(page, "report-phone")


def test_a_token_names_the_neurons_behind_it(detections, opened):
    page = opened(detections)
    first = page.locator(".detection").first
    assert "Kano is in <b>Japan</b>." in first.locator(".tokens").evaluate(
        "p => [...p.querySelectorAll('.token')].map(t => t.firstChild.data).join('')"
    )
    token = first.locator(".token.answer").first
    assert not token.locator(".tip").is_visible()
    token.hover()
    assert token.locator(".tip").is_visible()
    assert "layer" in token.locator(".tip").inner_text() and "p(hallucinated)" in token.locator(".tip").inner_text()
    shot(page, "detect")
    assert page.locator("#calibration tbody tr").count() > 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_detections_on_a_phone(detections, opened, scheme):
    page = opened(detections, PHONE, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator(".token").nth(3).focus()
    box = page.locator(".token:focus .tip").bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
    shot(page, f"detect-phone-{scheme}")


@pytest.fixture(scope="module")
def served(small_demo):
    """Address of the page of `hneurons serve` on the demo's model."""
    command = [sys.executable, "-m", "hneurons.cli", "serve", "--port", "0", "--max-new-tokens", "24"]
    command += ["--model", str(MODEL / "checkpoint"), "--neurons", str(MODEL / "published")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield re.search(r"a page at (\S+),", process.stderr.readline())[1]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("viewport", [DESK, PHONE])
def test_a_reply_is_shaded_while_it_is_written(served, browser, viewport):
    page = browser.new_page(viewport=viewport, color_scheme="dark" if viewport is PHONE else "light")
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: problems.append(r.url) if not r.url.startswith(served) else None)
    page.goto(served)
    page.get_by_label("your message").fill("Where is <b>Lyon</b>?")
    page.get_by_role("button", name="Send").click()
    # Tokens are there before the reply has ended.
    page.locator(".token").nth(2).wait_for()
    assert page.locator(".probability").count() == 0
    page.get_by_text("p(hallucinated) = ").wait_for()
    assert page.locator(".asked").inner_text() == "Where is <b>Lyon</b>?"
    token = page.locator(".token.answer").first
    token.hover()
    assert "layer" in token.locator(".tip").inner_text()
    shown = page.locator(".tokens").first.evaluate(
        "p => [...p.querySelectorAll('.token')].map(t => t.firstChild.data).join('')"
    )
    page.get_by_label("your message").fill("And how large is it?")
    page.get_by_role("button", name="Send").click()
    page.get_by_text("p(hallucinated) = ").nth(1).wait_for()
    assert len(shown) > 20 and page.locator(".reply").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    shot(page, f"serve-{viewport['width']}", full=True)
    page.close()
    assert not problems


def test_what_the_server_refuses_is_shown(served, browser):
    page = browser.new_page()
    page.goto(served)
    page.get_by_label("your message").fill("Where is Lyon?")
    page.locator("#temperature").evaluate("field => { field.min = -1; field.value = -1 }")
    page.get_by_role("button", name="Send").click()
    page.get_by_text("request: temperature").wait_for()
    page.close()
