"""The page of a run in a real browser, with the network off: what is drawn, what sorts, what fits."""

import re

import pytest

import hpoviz
from tests.conftest import SMALL_SPACE

pytestmark = pytest.mark.slow

BAD = '</script><img src=x onerror="window.hacked=1">\'&'
PLOT = ".rp-plot"
LOCAL = ("file://", "data:", "blob:")
THEMES = {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 20, 24)"}


@pytest.fixture(scope="module")
def pages(stripes, tmp_path_factory):
    """The page of a search of four trials, with hostile names, in both themes."""
    place = tmp_path_factory.mktemp("pages")
    names = {"class_names": (BAD, "down"), "name": BAD}
    data = hpoviz.Dataset.from_arrays(stripes.x, stripes.y, **names)
    opt = hpoviz.Optimizer(
        data, trials=4, epochs=5, seed=0, backend="inline", search_space=SMALL_SPACE, run_dir=place / "run", pruner=None
    )
    opt.run()
    return {theme: opt.report(place / f"{theme}.html", theme=theme) for theme in THEMES}


@pytest.fixture
def opened(browser):
    """A function that opens a file with the network off; in the end nothing may have gone wrong."""
    contexts, wrong = [], []

    def open_page(path, width=1280, height=900, ready=".hpoviz-graph[data-ready]", **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_offline(True)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith(LOCAL) else None)
        page.goto(path.as_uri())
        page.locator(ready).wait_for()
        return page

    yield open_page
    assert wrong == []
    for context in contexts:
        context.close()


def draw_all(page):
    """Scroll to every figure, and wait until it is drawn."""
    for plot in page.locator(PLOT).all():
        plot.scroll_into_view_if_needed()
        page.wait_for_function("plot => plot.dataset.drawn === 'done'", arg=plot.element_handle())


def width_of(page):
    return page.evaluate("document.scrollingElement.scrollWidth")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [1280, 390])
def test_all_figures_are_drawn_when_they_come_near(opened, pages, theme, width):
    page = opened(pages[theme], width, has_touch=width < 600, is_mobile=width < 600)
    plots = page.locator(PLOT)
    assert plots.count() > 15
    assert page.locator(f"{PLOT}:not([data-drawn])").count() > 10  # what is far is not drawn yet
    draw_all(page)
    assert page.locator(f"{PLOT}[data-drawn='done'] :is(.main-svg, canvas)").count() >= plots.count()
    for figure in page.locator("figure[id]").all():
        title = figure.get_by_role("heading", level=3)
        assert title.is_visible()
        assert figure.get_attribute("aria-labelledby") == title.get_attribute("id")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == THEMES[theme]
    papers = page.evaluate("[...document.querySelectorAll('.rp-plot')].map(plot => plot.layout.paper_bgcolor)")
    assert set(papers) == {"#ffffff" if theme == "light" else "#111418"}
    wide = page.evaluate(
        "[...document.querySelectorAll('.rp-plot > *')].filter(e => e.clientWidth > innerWidth).length"
    )
    assert wide == 0
    assert width_of(page) <= width
    assert page.evaluate("window.hacked") is None
    assert page.get_by_role("heading", level=1).inner_text() == f"{BAD} · cnn"


def test_figures_follow_the_width_and_no_width_scrolls_sideways(opened, pages):
    page = opened(pages["light"], 2200)
    draw_all(page)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    for width in (2200, 1024, 768, 390, 320):
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_function(
            "[...document.querySelectorAll('.rp-plot .main-svg')].every(svg => svg.clientWidth <= innerWidth)"
        )
        assert width_of(page) <= width


def column(page, name):
    """Return the texts of a column of the table of trials."""
    heads = page.locator(".rp-trials thead th").all_inner_texts()
    at = next(place for place, head in enumerate(heads) if head.strip(" ↕↑↓") == name)
    return page.locator(f".rp-trials tbody tr > :nth-child({at + 1})").all_inner_texts()


def test_the_table_sorts_by_keyboard_and_by_click(opened, pages):
    page = opened(pages["light"])
    rate = page.get_by_role("columnheader", name="learning_rate", exact=True)
    page.get_by_role("region", name="Table of all trials").focus()
    for _ in range(20):  # from head to head
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "learning_rate":
            break
    page.keyboard.press("Enter")
    values = [float(text) for text in column(page, "learning_rate")]
    assert len(values) == 4
    assert values == sorted(values)
    assert rate.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    assert [float(text) for text in column(page, "learning_rate")] == values[::-1]
    assert page.locator("#trials-said").inner_text() == "Sorted by learning_rate, descending."
    page.get_by_role("button", name="score", exact=True).click()
    assert rate.get_attribute("aria-sort") is None
    scores = [float(text) for text in column(page, "score")]
    assert scores == sorted(scores, reverse=True)
    page.get_by_role("button", name="activation", exact=True).click()
    names = column(page, "activation")
    assert names == sorted(names)
    page.get_by_role("button", name="trial", exact=True).click()
    assert [text[0] for text in column(page, "trial")] == list("0123")


def test_a_text_can_be_copied(opened, pages):
    page = opened(pages["dark"], permissions=["clipboard-read", "clipboard-write"])
    button = page.get_by_role("button", name="Copy best_hyperparameters.yaml")
    button.press("Enter")
    page.wait_for_function("button => button.textContent === 'Copied'", arg=button.element_handle())
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("run: run\ndata:\n")
    assert "hyperparameters:" in copied


def test_the_model_plays_and_the_contents_lead_there(opened, pages):
    page = opened(pages["dark"])
    page.get_by_role("link", name="Architecture").press("Enter")
    root = page.locator(".hpoviz-graph")
    page.wait_for_function("document.querySelector('#model').getBoundingClientRect().top < 100")
    root.get_by_role("button", name="Forward").click()
    page.locator(".hpoviz-graph[data-step='forward 3']").wait_for()
    assert "hpoviz-dark" in root.get_attribute("class")
    solid = page.locator(f"{PLOT}[data-kind='scene']")
    solid.scroll_into_view_if_needed()
    page.wait_for_function("plot => plot.dataset.drawn === 'done'", arg=solid.element_handle())
    assert solid.evaluate("plot => plot._transitionData._frames.length") > 5
    assert solid.evaluate("plot => plot.clientWidth") == pytest.approx(solid.evaluate("plot => plot.layout.width"))


def test_paper_gets_every_figure(opened, pages):
    page = opened(pages["light"])
    assert page.locator(f"{PLOT}:not([data-drawn])").count() > 10
    content = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) > 5
    page.wait_for_function("[...document.querySelectorAll('.rp-plot')].every(plot => plot.dataset.drawn === 'done')")
    across = "[...document.querySelectorAll('.rp-plots .main-svg')].every(svg => svg.clientWidth !== 680)"
    page.wait_for_function(across)  # and the screen has its own width again
    assert page.locator("details[open]").count() == 0
    assert width_of(page) <= 1280


def test_it_works_in_an_iframe(opened, pages, tmp_path):
    place = tmp_path / "site.html"
    place.write_text(
        f'<!doctype html><title>site</title><div style="height:3000px"></div>'
        f'<iframe src="{pages["light"].as_uri()}" sandbox="allow-scripts" style="width:700px;height:800px"></iframe>'
    )
    page = opened(place, ready="iframe")
    frame = page.frame_locator("iframe")
    page.locator("iframe").scroll_into_view_if_needed()
    frame.locator(PLOT).first.scroll_into_view_if_needed()
    frame.locator(f"{PLOT}[data-drawn='done']").first.wait_for()
    frame.get_by_role("button", name="seconds").click()
    assert frame.locator("th[aria-sort='ascending']").count() == 1
