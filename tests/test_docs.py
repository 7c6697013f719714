"""The documents: links, messages, names and commands in them are right, and the site is built without a warning."""

import ast
import functools
import html.parser
import http.server
import inspect
import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import hpoviz

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
DOCUMENTS = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *sorted(DOCS.rglob("*.md"))]
GAP = "…"  # in quoted messages: what differs


def text_of(document):
    """Return a document's Markdown, of a notebook that of its cells."""
    if document.suffix == ".md":
        return document.read_text()
    cells = json.loads(document.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def links_of(text):
    """Return where the links and pictures outside of code lead."""
    prose = re.sub(r"```.*?```|`[^`\n]+`", "", text, flags=re.DOTALL)
    return [*re.findall(r"\]\(([^)\s]+)\)", prose), *re.findall(r'src="([^"]+)"', prose)]


@pytest.mark.parametrize("document", [*DOCUMENTS, *NOTEBOOKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    inside = [link.partition("#")[0] for link in links_of(text_of(document)) if "://" not in link]
    missing = [link for link in inside if link and not (document.parent / link).exists()]
    assert missing == []


def test_links_are_found():
    assert links_of('[a](b.md#c) `[no](no.md)` ![d](e.png "f") <img src="g.png">') == ["b.md#c", "g.png"]
    assert len(links_of(text_of(DOCS / "dashboard.md"))) >= 6


# --- messages ---------------------------------------------------------------------------------------------------------


@functools.cache
def texts_of_the_source():
    """Return every text of the package, with a gap for what is filled in."""
    found = []
    for path in (ROOT / "hpoviz").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else GAP for part in node.values]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    found += [path.read_text() for path in (ROOT / "hpoviz").rglob("*.js")]
    return [" ".join(text.split()) for text in found]


def is_said(message):
    """Tell whether the package says this somewhere: its parts, in their order, in one text."""
    parts = [re.escape(part) for part in message.split(GAP) if part.strip()]
    pattern = re.compile(".*?".join(parts))
    return any(pattern.search(text) for text in texts_of_the_source())


def test_quoted_messages_are_those_of_the_source():
    quoted = re.findall(r"^\| `([^`]+)` \|", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(quoted) > 50
    assert [message for message in quoted if not is_said(message)] == []


def test_a_message_that_is_nowhere_is_noticed():
    assert not is_said("This search is running already. Call nobody.")
    assert not is_said("… exists already. Name a folder … that was never said")


# --- names ------------------------------------------------------------------------------------------------------------


def test_every_public_name_has_a_place_in_the_reference():
    pages = "\n".join(path.read_text() for path in DOCS.glob("reference/*.md"))
    described = set(re.findall(r"^\.\. auto(?:class|function|exception):: hpoviz\.([\w.]+)$", pages, re.MULTILINE))
    listed = set(re.findall(r"^   (\w+)$", (DOCS / "reference" / "index.md").read_text(), re.MULTILINE))
    contracts = {
        f"testing.{path.stem}.{name}"
        for path in ROOT.glob("hpoviz/testing/*_contract.py")
        for name in re.findall(r"^class (\w+Contract)\b", path.read_text(), re.MULTILINE)
    }
    assert len(contracts) == 3
    assert {*hpoviz.__all__, *contracts} - described == set()
    assert set(hpoviz.__all__) ^ listed == set()


OF_TYPE = {
    "opt": "Optimizer",
    "better": "Optimizer",
    "quiet": "Optimizer",
    "mine": "Optimizer",
    "pictures": "Dataset",
    "data": "DataInfo",
}


def test_names_and_settings_of_the_recipes_exist():
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "how_to.md").read_text(), re.DOTALL)
    assert len(blocks) >= 15
    data = hpoviz.load_dataset("digits")
    made = {"Optimizer": hpoviz.Optimizer(data, backend="inline"), "Dataset": data, "DataInfo": data.split().info}
    names = {kind: dir(one) for kind, one in made.items()}
    checked = 0
    for node in ast.walk(ast.parse("\n".join(blocks))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in OF_TYPE:
            assert node.attr in names[OF_TYPE[node.value.id]], node.attr
            checked += 1
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            checked += check_keywords(node)
    assert checked > 40


def check_keywords(call):
    """Check a call's settings where its function is known, and return how many were checked."""
    owner = call.func.value.id if isinstance(call.func.value, ast.Name) else None
    known = hpoviz if owner == "hpoviz" else getattr(hpoviz, OF_TYPE.get(owner, ""), None)
    if known is None:
        return 0
    accepted = inspect.signature(getattr(known, call.func.attr)).parameters
    unknown = [word.arg for word in call.keywords if word.arg not in accepted]
    assert unknown == [], ast.unparse(call)
    return len(call.keywords)


def test_the_container_runs_the_command_of_the_page():
    recipe = (DOCS / "app.Dockerfile").read_text()
    command = " ".join(json.loads(re.search(r"^CMD (.+)$", recipe, re.MULTILINE)[1]))
    (said,) = re.findall(r"^venv/bin/(voila .+)$", (DOCS / "deployment.md").read_text(), re.MULTILINE)
    assert command == f"{said} --Voila.ip=0.0.0.0"
    copied = [place for line in re.findall(r"^COPY (.+)$", recipe, re.MULTILINE) for place in line.split()[:-1]]
    assert len(copied) >= 5
    assert [place for place in copied if not (ROOT / place).exists()] == []


# --- the site ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as by ``make docs``."""
    folder = tmp_path_factory.mktemp("site")
    flags = re.search(r"sphinx-build (.+) -c docs", (ROOT / "Makefile").read_text())[1].split()
    assert {"-n", "-W"} <= set(flags)
    command = [
        sys.executable,
        "-m",
        "sphinx",
        *flags,
        "-c",
        "docs",
        "-d",
        str(folder / "trees"),
        ".",
        str(folder / "site"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    warnings = [line for line in done.stderr.splitlines() if "WARNING: " in line and "InitializeLog" not in line]
    assert (warnings, done.returncode) == ([], 0), done.stderr[-3000:]
    return folder / "site"


class Loaded(html.parser.HTMLParser):
    """What a page loads by itself, from elsewhere."""

    def __init__(self):
        super().__init__()
        self.elsewhere = []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        loads = tag in ("script", "img", "iframe", "source", "video") or (
            tag == "link" and "stylesheet" in found["rel"]
        )
        for address in (found.get("src"), found.get("href")) if loads else ():
            if address and re.match(r"(https?:)?//", address):
                self.elsewhere.append(address)


@pytest.mark.slow
def test_every_document_is_a_page_and_nothing_comes_from_elsewhere(site):
    documents = [*(path for path in DOCUMENTS if path.name != "README.md" or path.parent != ROOT), *NOTEBOOKS]
    wanted = {path.relative_to(ROOT).with_suffix(".html") for path in documents if path.name != "app.ipynb"}
    pages = {path.relative_to(site): path.read_text() for path in site.rglob("*.html")}
    assert wanted - set(pages) == set()
    assert "docs/index.html" in pages[Path("index.html")]
    for path, text in pages.items():
        page = Loaded()
        page.feed(text)
        assert page.elsewhere == [], path
    elsewhere = re.compile(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""")
    for sheet in site.rglob("*.css"):
        assert not elsewhere.search(sheet.read_text()), sheet


@pytest.mark.slow
def test_the_site_in_a_browser(site, browser):
    """Figures of a notebook are drawn, the search finds a name, and no request leaves the machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    page, asked, errors = browser.new_page(viewport={"width": 390, "height": 844}), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    try:
        page.goto(f"{address}notebooks/04_read_a_search.html")
        figure = page.locator(".notebook-figure").first
        figure.scroll_into_view_if_needed()
        figure.locator(".plot-container svg.main-svg").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.goto(f"{address}search.html?q=warm_start")
        page.locator("#search-results a", has_text="warm_start").first.wait_for()
    finally:
        page.close()
        server.shutdown()
        server.server_close()
    assert errors == []
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
