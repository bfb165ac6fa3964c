"""Published archives, from servers and from the disk, through the real command: fetched, unpacked and compared once."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import signal
import sys
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from src import tables
from src.command import UserError
from src.datasets import hmdb51
from src.fetching.downloads import Downloads
from tests.bare_checkout import bare_checkout
from tests.conftest import Checkout
from tests.datasets.official_lists import hmdb51_names, ucf101_names, write_hmdb51_lists, write_ucf101_lists
from tests.fetching.rar import Entry, rar4, rar5
from tests.fetching.server import File, Reply, Server, certified_by

ARCHERY = [name for name in ucf101_names() if name.startswith("Archery/")]
SURFING = [name for name in ucf101_names() if name.startswith("Surfing/")]
VIDEOS = rar4(*(Entry(f"UCF-101/{name}", f"the video {name}".encode()) for name in ARCHERY + SURFING))
HASH = hashlib.sha256(VIDEOS).hexdigest()
SETTINGS = ("dataset.classes=[Archery, Surfing]", "dataset.mirror={}")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return bare_checkout(tmp_path / "project")


@pytest.fixture(scope="module")
def lists(tmp_path_factory) -> bytes:
    """UCF101's own archive of lists."""
    folder = tmp_path_factory.mktemp("lists")
    write_ucf101_lists(folder)
    return packed(folder)


def packed(folder: Path) -> bytes:
    with zipfile.ZipFile(content := io.BytesIO(), "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"{folder.name}/{path.name}")
    return content.getvalue()


def command(*settings: str, name: str = "ucf101") -> list[str]:
    every = [f"dataset.name={name}", *SETTINGS, *settings]
    return ["python", "-m", "src.download", *(part for setting in every for part in ("--set", setting))]


def local_lists(checkout: Checkout, lists: bytes) -> str:
    """The setting for lists that are on the disk already."""
    (checkout.path / "lists.zip").write_bytes(lists)
    return "dataset.lists=lists.zip"


# From a server


def host(server: Server) -> str:
    """The folder below data/downloads for what comes from it."""
    return urlsplit(server.root).netloc.replace(":", "_")


def test_the_first_run_fetches_and_no_later_one_asks_again(checkout, lists):
    with Server(File(lists)) as of_lists, Server(File(VIDEOS)) as of_videos:
        places = (f"dataset.archive={of_videos.root}/a/UCF101.rar", f"dataset.lists={of_lists.root}/b/lists.zip")
        first = checkout.run(*command(*places))
        assert first.stdout == "data/raw: 271 videos of 2 classes in 50 groups\n"
        assert [request.path for request in of_lists.requests + of_videos.requests] == ["/b/lists.zip", "/a/UCF101.rar"]
        again = checkout.run(*command(*places))
        shutil.rmtree(checkout.path / "data" / "raw")
        shutil.rmtree(checkout.path / "data" / "downloads" / host(of_videos))  # to make room
        anew = checkout.run(*command(*places))
        assert again.stdout == anew.stdout == first.stdout
        assert len(of_lists.requests + of_videos.requests) == 2
    data = checkout.path / "data"
    inventory = tables.read(data / "videos.csv")
    assert {row["video"] for row in inventory} == {*ARCHERY, *SURFING}
    assert all((data / "raw" / name).read_text() == f"the video {name}" for name in ARCHERY + SURFING)
    assert f"{HASH}  UCF101.rar" in (data / "checksums.txt").read_text().splitlines()
    source = json.loads((data / "raw" / "source.json").read_text())
    assert source == {"dataset": "ucf101", "archive": of_videos.root + "/a/UCF101.rar", "sha256": HASH, "tls": "none"}


def test_a_killed_download_goes_on_with_the_next_run(checkout, lists):
    with Server(File(VIDEOS)) as server:
        half = len(VIDEOS) // 2
        server.replies = [Reply(stall_after=half)]
        run = command(f"dataset.archive={server.root}/UCF101.rar", local_lists(checkout, lists))
        part = checkout.path / "data" / "downloads" / host(server) / "UCF101.rar.part"
        with checkout.start(*run) as running:
            end = time.monotonic() + 60
            while not (part.exists() and part.stat().st_size == half):
                assert time.monotonic() < end, "half of it never came"
                time.sleep(0.02)
            running.send_signal(signal.SIGKILL)
        assert part.stat().st_size == half
        checkout.run(*run)
        assert server.ranges == [None, f"bytes={half}-"]
        assert server.requests[1].served == len(VIDEOS) - half
    assert len(list((checkout.path / "data" / "raw").rglob("*.avi"))) == 271


def test_hmdb51_comes_as_archives_in_an_archive(checkout, tmp_path):
    write_hmdb51_lists(tmp_path / "testTrainMulti_7030_splits")
    inner = {
        label: rar5(*(Entry(f"{label}/{name}", name.encode()) for name in hmdb51_names(label)))
        for label in hmdb51.CLASSES
    }
    outer = rar4(*(Entry(f"{label}.rar", content) for label, content in inner.items()))
    with Server(File(packed(tmp_path / "testTrainMulti_7030_splits"))) as of_lists, Server(File(outer)) as of_videos:
        places = (f"dataset.archive={of_videos.root}/hmdb51_org.rar", f"dataset.lists={of_lists.root}/splits.zip")
        done = checkout.run(*command(*places, "dataset.classes=null", name="hmdb51"))
    assert done.stdout.startswith("data/raw: 6766 videos of 51 classes in ")
    for row in tables.read(checkout.path / "data" / "videos.csv"):
        assert (checkout.path / "data" / "raw" / row["video"]).read_text() == row["video"].split("/")[1]
    parts = [row["part2"] for row in tables.read(checkout.path / "data" / "videos.csv")]
    assert {part: parts.count(part) for part in set(parts)} == {"train": 3570, "test": 1530, "none": 1666}


# Whom to trust


def test_an_untrusted_certificate_is_explained_and_both_ways_out_work(checkout, lists, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "bundle.pem")
    with Server(File(VIDEOS), certified_by(authority)) as server:
        run = command(f"dataset.archive={server.root}/UCF101.rar", local_lists(checkout, lists))
        refused = checkout.run(*run, check=False)
        assert refused.returncode == 1
        assert "--ca-bundle FILE (dataset.ca_bundle)" in refused.stderr
        assert "dataset.insecure: true" in refused.stderr
        assert not (checkout.path / "data" / "raw").exists()

        checkout.run(*run, "--ca-bundle", str(tmp_path / "bundle.pem"))
        assert source_tags(checkout)["source.tls"] == "verified"
        shutil.rmtree(checkout.path / "data")
        insecure = checkout.run(*run, "--set", "dataset.insecure=true")
        assert "warning: TLS verification is off for localhost" in insecure.stderr
        assert source_tags(checkout)["source.tls"] == "switched off"


def source_tags(checkout: Checkout) -> dict[str, str]:
    """What each run in MLflow is tagged with."""
    code = "import json; from src import tracking; print(json.dumps(tracking._source()))"
    return json.loads(checkout.run("python", "-c", code).stdout)


# The same archive as the first time


def test_another_archive_under_the_same_name_is_refused_until_it_is_trusted(checkout, lists):
    other = rar4(*(Entry(f"UCF-101/{name}", b"another video") for name in ARCHERY + SURFING))
    with Server(File(VIDEOS)) as server:
        run = command(f"dataset.archive={server.root}/UCF101.rar", local_lists(checkout, lists))
        checkout.run(*run)
        shutil.rmtree(checkout.path / "data" / "downloads")
        server.reset(File(other, etag='"two"'))
        refused = checkout.run(*run, check=False)
        assert refused.returncode == 1
        assert f"when UCF101.rar was first used it had {HASH}" in refused.stderr
        assert (checkout.path / "data" / "raw" / ARCHERY[0]).is_symlink()
        checksums = checkout.path / "data" / "checksums.txt"
        checksums.write_text(re.sub(r".*UCF101\.rar\n", "", checksums.read_text()))
        checkout.run(*run)
        assert len(server.requests) == 1
        assert (checkout.path / "data" / "raw" / ARCHERY[0]).read_text() == "another video"


def test_a_pinned_hash_must_hold(checkout, lists):
    (checkout.path / "mine.rar").write_bytes(VIDEOS)
    run = command("dataset.archive=mine.rar", local_lists(checkout, lists))
    wrong = checkout.run(*run, "--set", f"dataset.sha256={'f' * 64}", check=False)
    assert wrong.returncode == 1
    assert f"error: dataset.sha256: {checkout.path / 'mine.rar'} has the hash {HASH}, not ffff" in wrong.stderr
    checkout.run(*run, "--set", f"dataset.sha256={HASH}")
    again = checkout.run(*run, "--set", f"dataset.sha256={'f' * 64}", check=False)
    assert again.returncode == 1


# On the disk


def test_an_archive_on_the_disk_is_unpacked_again_only_when_it_has_changed(tmp_path):
    downloads = Downloads(tmp_path / "downloads", tmp_path / "checksums.txt")
    archive = tmp_path / "some.rar"
    archive.write_bytes(rar4(Entry("a.avi", b"one")))
    settings = {"setting": "dataset.archive", "unpacked": 1000}
    tree = downloads.folder(str(archive), **settings)
    before = (tree / "a.avi").stat()
    assert downloads.folder(str(archive), **settings) == tree
    assert (tree / "a.avi").stat() == before

    archive.write_bytes(rar4(Entry("a.avi", b"other")))
    with pytest.raises(UserError, match=r"dataset\.archive: .*some\.rar has the hash .* give another file, or if you"):
        downloads.folder(str(archive), **settings)
    (tmp_path / "checksums.txt").unlink()
    other = downloads.folder(str(archive), **settings)
    assert (other / "a.avi").read_bytes() == b"other"
    assert (tree / "a.avi").read_bytes() == b"one"


def test_a_folder_is_taken_as_it_is_and_nothing_is_an_error(tmp_path):
    downloads = Downloads(tmp_path / "downloads", tmp_path / "checksums.txt")
    (tmp_path / "lists").mkdir()
    assert downloads.folder(str(tmp_path / "lists"), setting="dataset.lists", unpacked=1) == tmp_path / "lists"
    with pytest.raises(UserError, match=r"dataset\.lists: nowhere\.zip does not exist"):
        downloads.folder("nowhere.zip", setting="dataset.lists", unpacked=1)
    assert not (tmp_path / "downloads").exists()


# Before the first byte


def test_without_an_unpacker_nothing_is_fetched_and_the_package_is_named(checkout, lists, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    bare = Checkout(checkout.path, checkout.env | {"PATH": str(tmp_path / "bin"), "PYTHONPATH": ":".join(sys.path)})
    with Server(File(VIDEOS)) as server:
        run = command(f"dataset.archive={server.root}/UCF101.rar", local_lists(checkout, lists))
        refused = bare.run(*run, check=False)
        assert refused.returncode == 1
        assert re.search(r"UCF101\.rar: no program here unpacks RAR; install one \(Debian.*unar", refused.stderr)
        assert server.requests == []


def test_without_room_nothing_is_fetched(tmp_path, monkeypatch):
    downloads = Downloads(tmp_path / "downloads", tmp_path / "checksums.txt")
    free = shutil.disk_usage(tmp_path)._replace(free=12_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    address = "http://localhost:9/UCF101.rar"
    with pytest.raises(UserError, match=r"downloads: .*UCF101\.rar needs about 13\.9 GB there, and 12\.0 GB are free"):
        downloads.check(address, size=6_900_000_000, unpacked=7_000_000_000)
    part = tmp_path / "downloads" / "localhost_9" / "UCF101.rar.part"
    part.parent.mkdir(parents=True)
    with part.open("wb") as file:
        file.truncate(2_000_000_000)  # of which most has come already
    downloads.check(address, size=6_900_000_000, unpacked=7_000_000_000)
