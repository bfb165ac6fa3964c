"""params.yaml → checked settings; recipes → params.yaml.

    python -m src.params show                                          what is in force
    python -m src.params apply recipes/folder.yaml --set train.lr=0.02   defaults + recipes + settings → params.yaml

`apply` starts from the defaults of src/settings.py, lays the recipes on in order, and keeps params.yaml's comments.
"""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from src import command, files, paths
from src.settings import Params


def load(path: Path, *, overrides: Iterable[str] = ()) -> Params:
    """Read and check a complete params file; `overrides` are `section.key=value` strings, laid on last.

    Raises `UserError` with one line for each wrong, unknown or missing setting.
    """
    values = _read(path)
    params = check(lay_on(values, *map(parse_override, overrides)), source=path.name)
    if missing := _missing(values):
        raise command.UserError(
            "\n".join(
                f"{path.name}: {key} is missing; `python -m src.params apply` writes every setting" for key in missing
            )
        )
    return params


def check(values: dict[str, Any], *, source: str) -> Params:
    """Typed settings from a nested mapping; keys that are absent take their defaults.

    Raises `UserError` naming `source` and each wrong setting.
    """
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise command.UserError("\n".join(f"{source}: {_explain(e)}" for e in error.errors())) from None


def lay_on(values: dict[str, Any], *overlays: dict[str, Any]) -> dict[str, Any]:
    """A copy of `values` with each overlay's settings laid over it, section by section."""
    result = {name: dict(section) if isinstance(section, dict) else section for name, section in values.items()}
    for overlay in overlays:
        for name, section in overlay.items():
            known = isinstance(section, dict) and isinstance(result.get(name), dict)
            result[name] = result[name] | section if known else section
    return result


def parse_override(text: str) -> dict[str, Any]:
    """`train.lr=1e-3` → `{"train": {"lr": 0.001}}`; the value is YAML, but any bare number is one."""
    key, equals, value = text.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise command.UserError(f"--set {text}: expected SECTION.KEY=VALUE, e.g. train.lr=0.02")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        raise command.UserError(
            f"--set {text}: not a YAML value; put text into single quotes within double ones: \"{key}='…'\""
        ) from None
    number = _number(value) if isinstance(parsed, str) else None
    return {section: {name: parsed if number is None else number}}


def read_recipe(name: str | Path) -> dict[str, Any]:
    """A recipe's settings: a path, or the bare name of a file in `recipes/`."""
    path = Path(name)
    if not path.is_file() and (paths.RECIPES / f"{name}.yaml").exists():
        path = paths.RECIPES / f"{name}.yaml"
    return _read(path)


def apply(recipes: Iterable[str | Path], overrides: Iterable[str], *, target: Path) -> Params:
    """Defaults + recipes + overrides → `target`, whose comments and layout stay."""
    from ruamel.yaml import YAML, YAMLError

    layers = [*map(read_recipe, recipes), *map(parse_override, overrides)]
    params = check(lay_on({}, *layers), source=" + ".join(["defaults", *map(str, recipes)]))
    round_trip = YAML()
    round_trip.width = 200
    tag, add = "tag:yaml.org,2002:", round_trip.representer.add_representer

    def quotes(text: str) -> str | None:
        """For what is no text to PyYAML, which reads it: Yes, on, 12:30."""
        return None if yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False)) == f"{tag}str" else "'"

    add(str, lambda writer, text: writer.represent_scalar(f"{tag}str", text, style=quotes(text)))
    add(type(None), lambda writer, _: writer.represent_scalar(f"{tag}null", "null"))
    add(float, lambda writer, number: writer.represent_scalar(f"{tag}float", _written(number)))
    # As `load` reads it: to ruamel.yaml, 1e-3 is a number.
    before = _read(target) if target.exists() else {}
    try:
        document = round_trip.load(target.read_text()) if before else {}
    except YAMLError as error:
        raise _not_yaml(target, error) from None
    settings = params.model_dump()
    for section in [name for name in document if name not in settings]:
        del document[section]
    for section, values in settings.items():
        if not isinstance(before.get(section), dict):
            before[section] = document[section] = {}
        known = document[section]
        for key in [key for key in known if key not in values]:
            del known[key]
        for key, value in values.items():
            if key not in known or before[section].get(key) != value:
                known[key] = _flow(value)
    with files.replacing(target) as beside, beside.open("w") as file:
        round_trip.dump(document, file)
    return params


def _flow(value: Any) -> Any:
    """Lists and mappings in YAML's one-line style, as params.yaml has them."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if not isinstance(value, (list, dict)):
        return value
    result = CommentedSeq(value) if isinstance(value, list) else CommentedMap(value)
    result.fa.set_flow_style()
    return result


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise command.UserError(f"{path}: no such file") from None
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise _not_yaml(path, error) from None
    if not isinstance(values, dict):
        raise command.UserError(f"{path}: expected sections with settings, e.g. `train:` with `lr: 0.02` below it")
    return values


def _not_yaml(path: Path, error: Exception) -> command.UserError:
    return command.UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}")


def _missing(values: dict[str, Any]) -> list[str]:
    return [
        f"{name}.{key}"
        for name, section in Params().model_dump().items()
        for key in section
        if isinstance(given := values.get(name, {}), dict) and key not in given
    ]


def _explain(error: dict[str, Any]) -> str:
    keys = [str(part) for part in error["loc"]]
    key, given = ".".join(keys[:2]), error["input"]
    message = error["msg"].removeprefix("Value error, ")
    if keys[:2] == ["tune", "space"]:
        key = ".".join(keys)
    if error["type"] == "value_error":
        return ": ".join([key, *keys[2:], message]) if len(keys) > 2 else message
    if error["type"] == "extra_forbidden":
        siblings = Params.model_fields if len(keys) == 1 else Params.model_fields[keys[0]].annotation.model_fields
        near = difflib.get_close_matches(keys[-1], siblings, n=1)
        return f"{key}: unknown setting" + (f"; did you mean {'.'.join([*keys[:-1], near[0]])}?" if near else "")
    if error["type"] == "float_type" and isinstance(given, str) and (number := _number(given)) is not None:
        right = _written(number)
        return f"{key}: {given!r} is text to YAML, which wants a point and no quotes in a number: write {right}"
    return f"{key}: {message[0].lower()}{message[1:]}, not {given!r}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _written(number: float) -> str:
    """A number so that YAML reads a number, also before version 1.2: 1e-05 would be text."""
    text = repr(number)
    return text if "." in text else text.replace("e", ".0e")


def main() -> None:
    parser = command.parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="show | apply")
    show_parser = commands.add_parser("show", help="print the settings in force")
    apply_parser = commands.add_parser("apply", help="write defaults + recipes into params.yaml")
    apply_parser.add_argument("recipe", nargs="*", help="a file, or the name of one in recipes/")
    for each in (show_parser, apply_parser):
        each.add_argument("--params", type=Path, default=argparse.SUPPRESS, metavar="FILE", help="as before")
        each.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="more", help="as before")
    arguments = parser.parse_args()
    arguments.set += arguments.more
    if arguments.command == "apply":
        apply(arguments.recipe, arguments.set, target=arguments.params)
        print(f"{os.path.relpath(arguments.params)}: defaults" + "".join(f" + {name}" for name in arguments.recipe))
    else:
        params = command.settings_of(arguments)
        print(yaml.safe_dump(params.in_force(), sort_keys=False, default_flow_style=None), end="")


if __name__ == "__main__":
    command.run(main)
