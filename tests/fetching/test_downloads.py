"""Published archives, from servers and from the disk, through the real command: fetched, unpacked and compared once."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import re
import shutil
import signal
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from src import tables
from src.command import UserError
from src.datasets import hmdb51
from src.fetching.address import below
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
        target = below(checkout.path / "data" / "downloads", f"{server.root}/UCF101.rar")
        part = target.with_name("UCF101.rar.part")
        with checkout.start(*run) as running:
            end = time.monotonic() + 300
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


def test_addresses_that_differ_in_their_query_alone_are_two_files(checkout, lists):
    with Server(File(lists)) as server:
        server.replies = [Reply(), Reply(file=File(VIDEOS))]
        root = server.root.replace("//", "//user:secret@")
        places = (f"dataset.archive={root}/get?file=UCF101.rar", f"dataset.lists={root}/get?file=lists.zip&sig=secret")
        done = checkout.run(*command(*places))
        again = checkout.run(*command(*places))
        assert done.stdout == again.stdout == "data/raw: 271 videos of 2 classes in 50 groups\n"
        assert len(server.requests) == 2
        assert server.requests[1].headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="
    data = checkout.path / "data"
    source = json.loads((data / "raw" / "source.json").read_text())
    assert source == {"dataset": "ucf101", "archive": f"{server.root}/get", "sha256": HASH, "tls": "none"}
    noted = [path for path in data.rglob("*") if path.suffix in (".json", ".txt") and not path.is_symlink()]
    assert all("secret" not in f"{path} {path.read_text()}" for path in noted)


def test_two_at_once_do_the_work_once(tmp_path, capsys):
    downloads = Downloads(tmp_path / "downloads", tmp_path / "checksums.txt")
    with Server(File(VIDEOS)) as server, ThreadPoolExecutor(2) as both:
        server.replies = [Reply(drop_after=1000)]  # and so one waits a second before it goes on
        settings = {"setting": "dataset.archive", "unpacked": 100_000}
        trees = list(both.map(lambda _: downloads.folder(f"{server.root}/UCF101.rar", **settings), range(2)))
        assert server.ranges == [None, "bytes=1000-"]
    assert trees[0] == trees[1]
    assert len(list(trees[0].rglob("*.avi"))) == 271
    waiting = f"note: another process is at work in {tmp_path / 'downloads'}; waiting for it\n"
    assert capsys.readouterr().err.count(waiting) == 1


def test_no_room_is_asked_for_what_another_process_unpacks_in_the_meantime(tmp_path, capsys):
    downloads = Downloads(tmp_path / "downloads", tmp_path / "checksums.txt")
    (tmp_path / "some.rar").write_bytes(rar4(Entry("a.avi", b"one")))
    tree = downloads.folder(str(tmp_path / "some.rar"), setting="dataset.archive", unpacked=1000)
    begun = tree.rename(tmp_path / "begun")
    settings = {"setting": "dataset.archive", "size": 1, "unpacked": 10**18}
    with (tmp_path / "downloads" / ".lock").open("a") as lock, ThreadPoolExecutor(1) as other:
        fcntl.flock(lock, fcntl.LOCK_EX)
        checked = other.submit(downloads.check, str(tmp_path / "some.rar"), **settings)
        end = time.monotonic() + 300
        while "waiting for it" not in capsys.readouterr().err:
            assert time.monotonic() < end, "it does not wait"
            time.sleep(0.01)
        begun.rename(tree)
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert checked.result(300) is None


def test_a_process_waits_for_another_that_unpacks_something_else(checkout, lists):
    (checkout.path / "mine.rar").write_bytes(VIDEOS)
    downloads = checkout.path / "data" / "downloads"
    downloads.mkdir(parents=True)
    with (downloads / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = command("dataset.archive=mine.rar", local_lists(checkout, lists))
        with checkout.start(*run) as running:
            assert running.stdout.readline().startswith(f"note: another process is at work in {downloads}; waiting")
            assert [path.name for path in downloads.iterdir()] == [".lock"]
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert running.stdout.readlines()[-1] == "data/raw: 271 videos of 2 classes in 50 groups\n"
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert checkout.run(*run).stderr == ""  # what is there already needs no lock


def test_what_was_removed_from_the_unpacked_folders_comes_back_as_is_said(checkout, lists):
    (checkout.path / "mine.rar").write_bytes(VIDEOS)
    run = command("dataset.archive=mine.rar", local_lists(checkout, lists))
    checkout.run(*run)
    (videos,) = (checkout.path / "data" / "downloads").glob("mine-*")
    (unpacked_lists,) = (checkout.path / "data" / "downloads").glob("lists-*")
    (videos / "UCF-101" / ARCHERY[0]).unlink()
    refused = checkout.run(*run, check=False)
    assert refused.stderr.endswith(
        f"\nremove {videos} and it is unpacked again; where the archive itself lacks them, "
        "to go on without them, on purpose: dataset.partial: true\n"
    )
    shutil.rmtree(videos)
    next(unpacked_lists.rglob("testlist01.txt")).unlink()
    refused = checkout.run(*run, check=False)
    assert f"error: {unpacked_lists}: no testlist01.txt; remove this folder and it is unpacked again" in refused.stderr
    shutil.rmtree(unpacked_lists)
    checkout.run(*run)
    assert (checkout.path / "data" / "raw" / ARCHERY[0]).read_text() == f"the video {ARCHERY[0]}"


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


def test_what_came_unverified_stays_so_in_the_record(checkout, lists, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "bundle.pem")
    trusted, insecure = ("--ca-bundle", str(tmp_path / "bundle.pem")), ("--set", "dataset.insecure=true")
    data = checkout.path / "data"
    with (
        Server(File(VIDEOS), certified_by(authority)) as of_videos,
        Server(File(lists), certified_by(authority)) as of_lists,
    ):
        from_web = f"dataset.archive={of_videos.root}/UCF101.rar"
        run = command(from_web, local_lists(checkout, lists))
        checkout.run(*run, *insecure)
        for tree in (data / "downloads").glob("UCF101-*"):
            shutil.rmtree(tree)
        checkout.run(*run, *trusted)
        assert source_tags(checkout)["source.tls"] == "switched off"
        assert len(of_videos.requests) == 1

        (videos,) = (data / "downloads").glob("UCF101-*")
        videos = videos.rename(tmp_path / "videos")
        shutil.rmtree(data)
        run = command(f"dataset.path={videos}", f"dataset.lists={of_lists.root}/lists.zip")
        checkout.run(*run, *insecure)
        assert source_tags(checkout)["source.tls"] == "switched off"
        checkout.run(*command(from_web, f"dataset.lists={of_lists.root}/lists.zip"), *trusted)
        assert source_tags(checkout)["source.tls"] == "switched off"  # the weaker of the two
        shutil.rmtree(data)
        checkout.run(*run, *trusted)
        assert source_tags(checkout)["source.tls"] == "verified"


def source_tags(checkout: Checkout) -> dict[str, str]:
    """What each run in MLflow is tagged with."""
    code = "import json; from src.tracking import origin; print(json.dumps(origin.source()))"
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
    with pytest.raises(UserError, match=r"dataset\.sha256 is of an archive, and dataset\.archive .*lists is a folder"):
        downloads.folder(str(tmp_path / "lists"), setting="dataset.archive", unpacked=1, sha256="0" * 64)
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
    address = "http://localhost:9/UCF101.rar?sig=secret"
    settings = {"setting": "dataset.archive", "size": 6_900_000_000}
    with pytest.raises(
        UserError, match=r"downloads: http://localhost:9/UCF101\.rar needs about 13\.9 GB there, and 12\.0 GB are free"
    ):
        downloads.check(address, **settings, unpacked=7_000_000_000)
    part = below(tmp_path / "downloads", address).with_name("UCF101.rar.part")
    part.parent.mkdir(parents=True)
    with part.open("wb") as file:
        file.truncate(2_000_000_000)  # of which most has come already
    downloads.check(address, **settings, unpacked=7_000_000_000)
    with pytest.raises(UserError, match=r"needs about 18\.9 GB"):  # the archives in it and the videos are there at once
        downloads.check(address, **settings, unpacked=7_000_000_000, nested=True)
    begun = tmp_path / "downloads" / ".UCF101-0123456789ab.unpacking" / "UCF-101" / "a.avi"
    begun.parent.mkdir(parents=True)
    with begun.open("wb") as file:
        file.truncate(6_900_000_001)  # and most of them are unpacked
    downloads.check(address, **settings, unpacked=7_000_000_000, nested=True)


@pytest.mark.parametrize("videos", ["dataset.path=videos", "dataset.archive=videos"])
def test_without_an_unpacker_for_the_lists_nothing_is_fetched(checkout, tmp_path, videos):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    bare = Checkout(checkout.path, checkout.env | {"PATH": str(tmp_path / "bin"), "PYTHONPATH": ":".join(sys.path)})
    (checkout.path / "videos").mkdir()
    with Server(File(b"")) as server:
        run = command(videos, f"dataset.lists={server.root}/splits.rar", "dataset.classes=null", name="hmdb51")
        refused = bare.run(*run, check=False)
        assert re.search(r"splits\.rar: no program here unpacks RAR; install one", refused.stderr)
        assert server.requests == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["archive=nope.rar", "lists={web}/lists.zip"], "dataset.archive: nope.rar does not exist"),
        (["archive={web}/a.zip", "lists=nope.zip"], "dataset.lists: nope.zip does not exist"),
        (["path=nope", "lists={web}/lists.zip"], "dataset.path: {here}/nope does not exist"),
        (
            ["path=params.yaml", "lists={web}/lists.zip"],
            "dataset.path: {here}/params.yaml is a file; an archive is for dataset.archive",
        ),
    ],
)
def test_what_is_not_on_the_disk_is_named_with_its_setting_before_anything_is_fetched(checkout, settings, said):
    with Server(File(b"")) as server:
        run = command(*(f"dataset.{setting.format(web=server.root)}" for setting in settings))
        refused = checkout.run(*run, check=False)
        assert refused.stderr == f"error: {said.format(here=checkout.path)}\n"
        assert server.requests == []


# After a power cut, and other people's edits


@pytest.mark.parametrize("left", ["", "{", "[]", "\x00\x00"])
def test_records_that_cannot_be_read_count_as_none(tmp_path, left):
    downloads = Downloads(tmp_path / "downloads", tmp_path / "checksums.txt")
    (tmp_path / "some.rar").write_bytes(rar4(Entry("a.avi", b"one")))
    settings = {"setting": "dataset.archive", "unpacked": 1000}
    tree = downloads.folder(str(tmp_path / "some.rar"), **settings)
    (tmp_path / "downloads" / "records.json").write_text(left)
    assert downloads.folder(str(tmp_path / "some.rar"), **settings) == tree
    assert str(tmp_path / "some.rar") in json.loads((tmp_path / "downloads" / "records.json").read_text())


@pytest.mark.parametrize(
    "line", ["<<<<<<< HEAD", "abc  some.rar", f"{'a' * 64}", f"{'b' * 64}  a.rar", "\N{SNOWMAN}  a.rar"]
)
def test_a_line_of_checksums_that_is_none_is_named_before_anything_is_fetched(tmp_path, line):
    downloads = Downloads(tmp_path / "downloads", tmp_path / "checksums.txt")
    (tmp_path / "checksums.txt").write_text(f"{'a' * 64}  a.rar\n\n{line}\n", encoding="latin-1", errors="replace")
    with pytest.raises(UserError, match=r"checksums\.txt: line 3: .* is not the one HASH  NAME of an archive"):
        downloads.check("http://localhost:9/a.zip", setting="dataset.archive", size=1, unpacked=1)
