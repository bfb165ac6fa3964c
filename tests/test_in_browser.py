"""What a person sees: the pages of a small `dvc repro`, in a real Chromium, at the size of a desktop and of a phone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.browser import DESKTOP, PHONE, Browser, chromium
from tests.conftest import Checkout
from tests.test_pipeline import runs
from tests.tracking.servers import free_port, healthy
from tests.tracking.trainings import wait_for

PLAYING = "return [...document.querySelectorAll('video')].every(each => each.currentTime > 0.2 && !each.paused)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as window:
        yield window


@pytest.fixture(scope="module")
def server(reproduced: Checkout) -> Iterator[str]:
    """The address of `mlflow ui` over the runs of the checkout."""
    port = free_port()
    command = ["mlflow", "ui", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(
        command, cwd=reproduced.path, env=reproduced.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: healthy(address))
        yield address
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_report_asks_no_other_host_and_its_videos_play(browser: Browser, reproduced: Checkout, size, tmp_path):
    report = (reproduced.path / "artifacts" / "report.html").as_uri()
    browser.size(*size)
    browser.open("about:blank")
    browser.requests(), browser.complaints()
    browser.open(report)
    videos = browser.run("return document.querySelectorAll('video').length")
    assert videos > 0  # a network trained for two epochs is wrong
    browser.run("document.querySelectorAll('video').forEach(each => each.play())")  # also those out of sight
    browser.until(PLAYING)
    pictures = browser.run("return [...document.images].map(each => each.complete && each.naturalWidth)")
    assert all(pictures)
    assert {address for address in browser.requests() if not address.startswith("data:")} == {report}
    assert browser.complaints() == []
    # Nothing sticks out: what is wider than the page scrolls in its own frame.
    assert browser.run("return document.documentElement.scrollWidth") == size[0]
    browser.screenshot(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 50_000


def test_mlflow_ui_shows_the_run_with_curves_and_figures(browser: Browser, reproduced: Checkout, server: str):
    run = runs(reproduced)[0]
    page = f"{server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    browser.size(*DESKTOP)
    browser.open(page)
    browser.until(f"return document.body.innerText.includes('{run.info.run_name}')")
    text = browser.until("return document.body.innerText.includes('val_top1') && document.body.innerText")
    assert "test.top1" in text
    browser.open(f"{page}/model-metrics")
    browser.until("return document.querySelectorAll('.js-plotly-plot .scatterlayer path.js-line').length > 0")
    browser.open(f"{page}/artifacts/evaluation/confusion.png")
    browser.until("return [...document.images].some(each => each.naturalWidth > 500)")
