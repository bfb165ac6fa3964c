"""Addresses → what of them may be shown, and places that no two share."""

from pathlib import Path

import pytest

from src.fetching.address import below, file_name, identity, is_address, shown, unique_name

SECRET = "https://user:secret@example.org:8443/a/UCF%20101.rar?sig=secret@x#secret"


def test_what_is_secret_is_not_shown():
    assert shown(SECRET) == "https://example.org:8443/a/UCF%20101.rar"
    assert "secret" not in f"{identity(SECRET)} {unique_name(SECRET)} {below(Path('root'), SECRET)}"
    for harmless in ("http://example.org/@home/a.zip", "my@videos?/a#1.rar", "http://", "http://["):
        assert shown(harmless) == harmless


def test_every_address_has_a_place_of_its_own():
    addresses = [f"{scheme}://a.org/get?file={name}" for scheme in ("http", "https") for name in ("a.zip", "b.zip")]
    assert len({below(Path("root"), url) for url in addresses}) == len({identity(url) for url in addresses}) == 4
    place = below(Path("root"), "http://u:p@a.org:80/x/b.zip")
    assert (place.parts[:2], place.name, len(place.parts)) == (("root", "a.org_80"), "b.zip", 4)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (SECRET, "UCF 101.rar"),
        ("http://a.org/x/get?file=b.zip", "get"),
        ("http://a.org", "download"),
        ("http://a.org/x/..", "download"),
        ("http://a.org/%2e%2e", "download"),
        ("http://a.org/..%2Fb.zip", "b.zip"),
        ("../my videos?.rar", "my videos?.rar"),
    ],
)
def test_the_name_is_the_last_of_the_path(place, name):
    assert file_name(place) == name


def test_a_query_makes_a_name_that_of_one_address_alone():
    assert unique_name("http://a.org/UCF101.rar") == unique_name("https://b.org/x/UCF101.rar") == "UCF101.rar"
    assert unique_name("http://a.org/get?1") != unique_name("http://a.org/get?2")
    assert unique_name("videos/a?1.rar") == "a?1.rar"


def test_a_path_is_no_address():
    assert is_address(SECRET)
    assert not is_address("a:/b.rar")
