"""What every command shares: `--params`, `--set`, errors in one line, Ctrl-C without a traceback."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from src import paths

if TYPE_CHECKING:
    from src.settings import Params


DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(Exception):
    """Something that the user can mend: printed as it is, without a traceback, with exit status 1."""


def parser(doc: str) -> argparse.ArgumentParser:
    """A parser with the options of every command; `doc` is the module's docstring."""
    module = sys.modules["__main__"].__spec__
    result = argparse.ArgumentParser(
        prog=f"python -m {module.name}" if module else None,
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "--params",
        type=Path,
        default=paths.PARAMS,
        metavar="FILE",
        help="settings to read (default: params.yaml)",
    )
    result.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting, e.g. --set train.lr=0.02",
    )
    return result


def settings(doc: str) -> Params:
    """Parse the command line of a stage and load the settings that it names."""
    return settings_of(parser(doc).parse_args())


def settings_of(arguments: argparse.Namespace) -> Params:
    """The settings in force for a parsed command line."""
    from src import params

    return params.load(arguments.params, overrides=arguments.set)


def run(main: Callable[[], None]) -> None:
    """Call a command's `main` and turn what the user can mend into one line on stderr."""
    rank = int(os.environ.get("RANK", "0"))  # set by torchrun, of whose processes the first speaks for all
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        sys.exit(f"error{f' on rank {rank}' if rank else ''}: {error}")
    except KeyboardInterrupt:
        sys.exit(1 if rank else "interrupted: the same command goes on from here")
    except BrokenPipeError:  # of `| head`; Python would try again to print the rest when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in DISK_IS_FULL:
            raise
        where = f" in {Path(error.filename).parent}" if error.filename else ""
        sys.exit(f"error: {error.strerror.lower()}{where}; make room, and the same command goes on from here")
