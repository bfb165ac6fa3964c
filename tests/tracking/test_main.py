"""The command line of src.tracking."""

import pytest

from tests.test_command import HEAVY, loaded


@pytest.mark.parametrize("arguments", [["--help"], ["send", "--help"], ["prune", "--gb", "-1"]])
def test_help_and_mistakes_need_no_heavy_library(arguments):
    code = f"import sys, src.tracking.__main__ as module\nsys.argv = ['x', *{arguments}]\n"
    assert loaded(f"{code}try: module.main()\nexcept SystemExit: pass") & {*HEAVY, "requests"} == set()


def test_nothing_waits_at_first(checkout):
    assert checkout.run("python", "-m", "src.tracking", "send").stdout == "nothing waits\n"


def test_how_much_may_stay_is_asked(checkout):
    done = checkout.run("python", "-m", "src.tracking", "prune", check=False)
    assert done.returncode == 2
    assert "the following arguments are required: --gb" in done.stderr
