"""A real JupyterLab in a real Chromium, and Voila, for tests and for the pictures in the documentation."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card
]
SETTINGS = {
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
READY = """() => {
    const shown = window.jupyterapp?.shell.currentWidget;
    return shown?.context?.isReady && shown.sessionContext.session?.kernel?.status === 'idle';
}"""
STARTING_S, LONGEST_MS = 180, 120_000


class Lab:
    """A JupyterLab server over a folder; a context manager."""

    def __init__(self, folder: Path, chromium: str) -> None:
        self.folder, self._chromium = folder, chromium
        self._token = secrets.token_hex(8)
        home = folder / ".home"
        for place, content in SETTINGS.items():
            path = home / "settings" / place
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(content))
        self._port = free_port()
        self._env = os.environ | {
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "IPYTHONDIR": str(home / "ipython"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }

    def __enter__(self) -> Lab:
        self._log = (self.folder / "lab.log").open("w")
        self._server = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={self._port}"),
                *("--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.folder}", "--ip=127.0.0.1"),
                *(f"--IdentityProvider.token={self._token}", "--LabApp.expose_app_in_browser=True"),
            ],
            env=self._env,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        wait_for(f"http://127.0.0.1:{self._port}/api", self._server, self.folder / "lab.log")
        self._playwright = sync_playwright().start()
        self.browser: Browser = self._playwright.chromium.launch(executable_path=self._chromium, args=FLAGS)
        return self

    def __exit__(self, *_: object) -> None:
        self.browser.close()
        self._playwright.stop()
        self._server.terminate()
        self._server.wait(30)
        self._log.close()

    def open(self, name: str, cells: list[str], *, width: int = 1440, height: int = 900) -> Notebook:
        """Open a new notebook of these cells."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / name)
        context = self.browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        page = context.new_page()
        found = Notebook(page)
        page.goto(f"http://127.0.0.1:{self._port}/doc/tree/{name}?token={self._token}&reset", timeout=LONGEST_MS)
        page.wait_for_function(READY, timeout=LONGEST_MS)
        return found


class Voila:
    """A notebook as an application, without its code; a context manager that yields its address."""

    def __init__(self, notebook: Path, folder: Path) -> None:
        self._notebook, self._folder = notebook, folder

    def __enter__(self) -> str:
        port, self._log = free_port(), (self._folder / "voila.log").open("w")
        command = [sys.executable, "-m", "voila", str(self._notebook), "--no-browser", f"--port={port}"]
        env = os.environ | {"IPYTHONDIR": str(self._folder), "PYTHONPATH": str(Path(__file__).parents[1])}
        self._server = subprocess.Popen(command, env=env, stdout=self._log, stderr=subprocess.STDOUT)
        address = f"http://localhost:{port}/"
        wait_for(f"{address}voila/files/none", self._server, self._folder / "voila.log")
        return address

    def __exit__(self, *_: object) -> None:
        self._server.terminate()
        self._server.wait(30)
        self._log.close()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers, whatever it says."""
    for _ in range(10 * STARTING_S):
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"The server has not started:\n{log.read_text()[-3000:]}")


class Notebook:
    """A notebook on screen."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(error.stack or str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)

    def run(self, cell: int) -> float:
        """Run a cell, wait until it has run, and return the time at which that began."""
        self.page.evaluate("number => { jupyterapp.shell.currentWidget.content.activeCellIndex = number; }", cell)
        began = time.perf_counter()
        self.page.evaluate("async () => { await jupyterapp.commands.execute('notebook:run-cell'); }")
        return began

    def execute(self, code: str) -> str:
        """Run code in the notebook's kernel, beside its cells, and return what it prints."""
        return self.page.evaluate(
            """async code => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const future = kernel.requestExecute({code, store_history: false});
                let said = '';
                future.onIOPub = ({header, content}) => {
                    if (header.msg_type === 'stream') said += content.text;
                    if (header.msg_type === 'error') said += content.traceback.join('\\n');
                };
                await future.done;
                return said;
            }""",
            code,
        )

    def theme(self, name: str) -> None:
        """Change JupyterLab's theme."""
        self.page.evaluate(
            "async theme => { await jupyterapp.commands.execute('apputils:change-theme', {theme}); }", THEMES[name]
        )
        wanted = "true" if name == "light" else "false"
        self.page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=wanted)

    def output(self, cell: int):
        """Return the locator of a cell's output."""
        return self.page.locator(".jp-CodeCell").nth(cell).locator(".jp-OutputArea")

    def close(self) -> None:
        """Close the notebook's page and end its kernel."""
        self.page.evaluate("async () => { await jupyterapp.shell.currentWidget.sessionContext.shutdown(); }")
        self.page.context.close()
