"""A registered version → the champion, which is the one that is served, if it is better than the present one.

    python -m src.promote                       the newest version
    python -m src.promote 3
    python -m src.promote 3 --anyway            whatever the comparison says

Better: on the same validation videos, by an interval of the difference that lies above 0. `python -m src.evaluate`
does the same with each model that it registers. `mlflow models serve -m models:/NAME@champion` serves the champion.
"""

from __future__ import annotations

from src import command
from src.command import UserError


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("version", nargs="?", type=int, help="its number (default: the newest)")
    parser.add_argument("--anyway", action="store_true", help="even if it is not better, or cannot be compared")
    arguments = parser.parse_args()
    name = command.settings_of(arguments).serve.name
    from src.serving import champion
    from src.tracking import store

    client, _ = store.configured()
    there = {int(version.version): version for version in client.search_model_versions(f"name = '{name}'")}
    if not there:
        raise UserError(
            f"there is no registered model {name} (serve.name): `dvc repro` trains and registers one; "
            "`dvc repro -sf evaluate` registers what is trained"
        )
    number = max(there) if arguments.version is None else arguments.version
    if number not in there:
        raise UserError(f"models:/{name} has no version {number}, but {', '.join(map(str, sorted(there)))}")
    promoted, said = champion.consider(client, there[number], anyway=arguments.anyway)
    if not promoted:
        raise UserError(said)
    print(said)


if __name__ == "__main__":
    command.run(main)
