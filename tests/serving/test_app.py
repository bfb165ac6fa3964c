"""The page of `python -m src.app`, over the small `dvc repro`, in a real Chromium, and asked by several at once."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from src.serving.show import timeline
from tests.browser import DESKTOP, PHONE, Browser, chromium
from tests.conftest import Checkout
from tests.tracking.servers import free_port
from tests.video import clips

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
SETTINGS = ("--set", "serve.megabytes=2", "--set", "predict.window=60", "--set", "predict.hop=60")

HEADLINE = "document.querySelector('.answer h2')?.innerText"
DONE = f"return document.querySelector('.answer .looks') && {HEADLINE}"
PLAYING = "return [...document.querySelectorAll('.looks video')].map(each => each.currentTime > 0 && each.videoWidth)"


@pytest.fixture(scope="module")
def project(reproduced: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout whose network has no calibration, without which it is never uncertain."""
    path = tmp_path_factory.mktemp("app") / "project"
    shutil.copytree(reproduced.path, path, symlinks=True)
    (path / "artifacts/calibration.json").unlink()
    return Checkout(path, reproduced.env)


@pytest.fixture(scope="module")
def known(project: Checkout) -> tuple[Path, str]:
    """A video, and what the network says of it."""
    video = min((project.path / "data/raw").rglob("*.avi"))
    said = project.run("python", "-m", "src.predict", "--json", str(video)).stdout
    return video, json.loads(said)["answer"]


@pytest.fixture(scope="module")
def page(project: Checkout) -> Iterator[str]:
    """The address of the page."""
    port = str(free_port())
    app = project.start("python", "-m", "src.app", "--port", port, *SETTINGS)
    try:
        said = next(line for line in app.stdout if not line.startswith("note:"))
        assert said == f"the page is at http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
        yield f"http://127.0.0.1:{port}/"
        app.send_signal(signal.SIGINT)
        assert app.wait(300) == 0
        assert "Traceback" not in app.stdout.read().partition("Keyboard interruption")[2]
    finally:
        app.kill()
        app.wait()
        app.stdout.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium"), *CAMERA) as window:
        yield window


@pytest.fixture
def fresh(browser: Browser, page: str) -> Browser:
    """The page as who opens it sees it."""
    browser.size(*DESKTOP)
    browser.open("about:blank")
    browser.requests(), browser.complaints()
    browser.open(page)
    browser.until("return document.querySelector('#file input[type=file]') && document.querySelector('.known')")
    return browser


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_video_gets_its_label_and_nobody_else_is_asked(fresh: Browser, page: str, known, size, tmp_path):
    fresh.size(*size)
    video, label = known
    fresh.give("#file input[type=file]", video)
    fresh.until(DONE)
    assert fresh.run(f"return {HEADLINE}") == label
    names = fresh.run("return [...document.querySelectorAll('.top li span:first-child')].map(each => each.innerText)")
    assert names[0] == label
    assert len(names) == 5
    assert f"{video.name}: " in fresh.run("return document.querySelector('.answer').innerText")
    assert "answered in" in fresh.run("return document.querySelector('.answer').innerText")
    fresh.until("return document.querySelectorAll('.looks video').length == 3")
    fresh.run("document.querySelectorAll('video').forEach(each => each.play())")  # also those out of sight
    fresh.until(f"{PLAYING}.every(each => each)")
    assert {each for each in fresh.requests() if not each.startswith((page, "data:", "blob:", "about:"))} == set()
    assert fresh.complaints() == []
    assert fresh.run("return document.documentElement.scrollWidth") == size[0]
    fresh.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 30_000


def test_an_hour_gets_a_timeline(fresh: Browser, tmp_path: Path):
    hour = [1000 * second for second in range(3600)]
    frames = [image for image in clips.numbered(30) for _ in range(120)]
    fresh.give("#file input[type=file]", clips.write(tmp_path / "hour.mp4", frames, times=hour))
    fresh.until("return document.querySelector('.answer .looks')")
    assert "60.0 minutes of video" in fresh.run("return document.querySelector('.answer').innerText")
    shown = fresh.run("return document.querySelector('.timeline').children.length")
    listed = fresh.run("return [...document.querySelectorAll('.runs li')].map(each => each.innerText)")
    assert shown == len(listed) > 0
    assert listed[0].startswith("0:00:00.0 – ")
    assert " – 1:00:00.0 " in listed[-1] or " – 0:59:59" in listed[-1]


def test_a_broken_one_gets_a_sentence_and_the_next_an_answer(fresh: Browser, known, tmp_path: Path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 500)
    fresh.give("#file input[type=file]", broken)
    fresh.until(f"return {HEADLINE} == 'No answer'")
    said = fresh.run("return document.querySelector('.answer p').innerText")
    assert said == "broken.mp4 cannot be answered: Invalid data found when processing input."
    fresh.run("document.querySelector('#file button[aria-label=Clear]').click()")
    fresh.until("return document.querySelector('#file input[type=file]') && !document.querySelector('.answer')")
    fresh.give("#file input[type=file]", known[0])
    fresh.until(DONE)


def test_one_that_is_too_large_is_refused(fresh: Browser, tmp_path: Path):
    large = tmp_path / "large.mp4"
    large.write_bytes(b"\0" * 2_500_000)
    fresh.give("#file input[type=file]", large)
    fresh.until("return document.body.innerText.includes('exceed the maximum allowed size')")
    assert not fresh.run("return document.querySelector('.answer')")


def test_what_the_camera_sees_is_answered(fresh: Browser):
    fresh.run("[...document.querySelectorAll('button[role=tab]')].find(each => each.innerText == 'The camera').click()")
    fresh.until("return document.querySelector('#camera button')")
    fresh.run("document.querySelector('#camera button').click()")
    fresh.until("return [...document.querySelectorAll('#camera video')].some(each => each.currentTime > 0.2)")
    record = "return document.querySelector('#camera button[aria-label*=record]')?.click() ?? true"
    fresh.run(record)
    fresh.run("await new Promise(done => setTimeout(done, 1500))")
    fresh.run(record)
    fresh.until(DONE)


def test_several_at_once_wait_their_turn_and_get_their_own_answer(page: str, tmp_path: Path):
    videos = [clips.write(tmp_path / f"{n}.mp4", clips.numbered(31)[n : n + 9]) for n in range(8)]
    with ThreadPoolExecutor(8) as people:
        answers = list(people.map(lambda video: asked(page, upload(page, video)), videos))
    for video, answer in zip(videos, answers, strict=True):
        assert f"{video.name}: 0.4 s of video" in answer


def test_an_address_in_place_of_an_upload_is_not_fetched(page: str):
    asked_for = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            asked_for.append(self.path)
            self.send_error(404)

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for place in (f"http://127.0.0.1:{server.server_port}/clip.mp4", "https://192.0.2.1/clip.mp4", "/etc/passwd"):
            with pytest.raises(AssertionError, match="'success': False"):
                asked(page, place)
        server.shutdown()
    assert asked_for == []


def upload(page: str, video: Path) -> str:
    """Where the page keeps it."""
    (path,) = requests.post(f"{page}gradio_api/upload", files={"files": (video.name, video.read_bytes())}).json()
    return path


def asked(page: str, path: str) -> str:
    """What the page's own script would show of an upload in the end."""
    config = requests.get(f"{page}config").json()
    watching = next(each for each in config["dependencies"] if each["inputs"])
    visit = {"fn_index": watching["id"], "session_hash": uuid.uuid4().hex[:10]}
    given = {"path": path, "orig_name": "clip.mp4", "meta": {"_type": "gradio.FileData"}}
    requests.post(f"{page}gradio_api/queue/join", json=visit | {"data": [given]}).raise_for_status()
    with requests.get(f"{page}gradio_api/queue/data", params=visit, stream=True, timeout=120) as events:
        for line in events.iter_lines():
            event = json.loads(line.removeprefix(b"data: ")) if line else {}
            if event.get("msg") == "process_generating" and isinstance(event["output"]["data"][0], str):
                shown = event["output"]["data"][0]
            if event.get("msg") == "process_completed":
                assert event["success"], event
                return shown
    raise AssertionError("the queue ended without an answer")


def test_what_is_missing_or_taken_is_said(project: Checkout, page: str):
    taken = project.run("python", "-m", "src.app", "--port", page.split(":")[-1].strip("/"), check=False)
    assert taken.returncode == 1
    assert "perhaps somebody does: --port names another" in taken.stderr
    none = project.run("python", "-m", "src.app", "--model", "none.pt", check=False)
    assert "none.pt" in none.stderr.splitlines()[-1]


# The timeline


def part(start: float, end: float, name: str, probability: float = 0.9) -> dict:
    return {"start": start, "end": end, "answer": name, "top": [{"class": name, "probability": probability}]}


def test_stretches_meet_in_the_middle_of_what_both_saw():
    parts = [part(0, 10, "Run"), part(5, 15, "Run", 0.95), part(10, 20, "Walk"), part(12, 22, "Walk")]
    found = timeline(parts)
    assert [(each["start"], each["end"], each["answer"]) for each in found] == [(0, 12.5, "Run"), (12.5, 22, "Walk")]
    assert found[0]["line"] == "0:00:00.0 – 0:00:12.5  Run  (95.0%)"
    assert timeline([]) == []
