"""Settings: what is wrong is said in one line that names it, and recipes are laid on without losing a comment."""

import ast
import re
import shutil
from pathlib import Path

import pytest
import yaml

from src import paths
from src.command import UserError
from src.params import apply, check, load, parse_override
from src.settings import Params
from tests.bare_checkout import bare_checkout

DEFAULTS = Params().model_dump()
KEYS = [(section, key) for section, values in DEFAULTS.items() for key in values]
RECIPES = sorted(paths.RECIPES.glob("*.yaml"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A copy of the project's params.yaml, with the defaults in it."""
    shutil.copy(paths.PARAMS, tmp_path)
    apply([], [], target=tmp_path / "params.yaml")
    return tmp_path / "params.yaml"


def write(path: Path, **changes: dict) -> Path:
    """The defaults with some sections changed, as YAML without comments."""
    path.write_text(yaml.safe_dump({name: DEFAULTS[name] | changes.get(name, {}) for name in DEFAULTS}))
    return path


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as refused:
        load(path, overrides=overrides)
    return str(refused.value)


# Reading


def test_params_yaml_has_every_setting_and_no_other():
    values = yaml.safe_load(paths.PARAMS.read_text())
    assert [(section, key) for section in values for key in values[section]] == KEYS
    load(paths.PARAMS)


def test_every_setting_and_section_has_a_comment():
    lines = paths.PARAMS.read_text().splitlines()
    named = [line for line in lines if re.match(r" *\w+:", line)]
    assert len(named) == len(KEYS) + len(DEFAULTS)
    assert [line for line in named if not re.search(r" # \w", line)] == []


def test_every_setting_is_read_by_some_other_file():
    words = set()
    for path in paths.ROOT.glob("src/**/*.py"):
        if path.name not in ("settings.py", "params.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                words |= {getattr(node, field, None) for field in ("attr", "arg", "value") if _is_word(node, field)}
    assert [f"{section}.{key}" for section, key in KEYS if key not in words] == []


def _is_word(node: ast.AST, field: str) -> bool:
    return isinstance(getattr(node, field, None), str)


def test_a_misspelt_setting_gets_a_suggestion(tmp_path):
    path = write(tmp_path / "mine.yaml", train={"learn_rate": 1.0, "epoch": 3})
    assert refusal(path).splitlines() == [
        "mine.yaml: train.epoch: unknown setting; did you mean train.epochs?",
        "mine.yaml: train.learn_rate: unknown setting",
    ]


def test_a_misspelling_is_named_before_what_is_missing_for_it(tmp_path):
    path = write(tmp_path / "mine.yaml")
    path.write_text(path.read_text().replace("  warmup:", "  warm_up:"))
    assert refusal(path) == "mine.yaml: train.warm_up: unknown setting; did you mean train.warmup?"


def test_a_misspelt_section_gets_a_suggestion(tmp_path):
    assert refusal(write(tmp_path / "mine.yaml"), "trian.lr=1") == (
        "mine.yaml: trian: unknown setting; did you mean train?"
    )


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_a_missing_setting_is_named(tmp_path, section, key):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(DEFAULTS | {section: {k: v for k, v in DEFAULTS[section].items() if k != key}}))
    message = refusal(path)
    assert message.startswith(f"mine.yaml: {section}.{key} is missing; `python -m src.params apply`")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("section", "key", "value", "reason"),
    [
        ("train", "epochs", "many", "valid integer, not 'many'"),
        ("train", "epochs", 1.5, "valid integer, not 1.5"),
        ("train", "epochs", "30", "valid integer, not '30'"),
        ("train", "epochs", 0, "greater than or equal to 1, not 0"),
        ("train", "lr", None, "valid number, not None"),
        ("train", "lr", float("inf"), "finite number, not inf"),
        ("train", "lr", -0.1, "greater than 0, not -0.1"),
        ("train", "optimizer", "adam", "'sgd' or 'adamw', not 'adam'"),
        ("model", "depth", 34, "18, 50 or 101, not 34"),
        ("model", "zero_init", 1, "valid boolean, not 1"),
        ("augment", "scale", 0.5, "valid list, not 0.5"),
        ("augment", "scale", [0.1, 0.2, 0.3], "at most 2 items"),
        ("dataset", "path", 2019, "valid string, not 2019"),
        ("dataset", "mirror", "no", "neither `forbid` nor pairs of classes"),
        ("dataset", "mirror", {"Left": 1}, "neither `forbid` nor pairs of classes"),
        ("runtime", "device", "gpu", "not 'gpu'"),
        ("runtime", "workers", -1, "greater than or equal to 0, not -1"),
    ],
)
def test_a_wrong_value_is_one_line_with_its_name(tmp_path, section, key, value, reason):
    message = refusal(write(tmp_path / "mine.yaml", **{section: {key: value}}))
    assert message.startswith(f"mine.yaml: {section}.{key}")
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("written", "right"),
    [("1e-3", "0.001"), ("1e-5", "1.0e-05"), ("25e-5", "0.00025"), ("1.25e-5x", None), ('"0.02"', "0.02")],
)
def test_what_yaml_takes_for_text_is_said_with_the_right_way_to_write_it(tmp_path, written, right):
    path = write(tmp_path / "mine.yaml")
    path.write_text(re.sub(r"(\ntrain:\n(?:  .+\n)*?  lr: ).*", rf"\g<1>{written}", path.read_text()))
    message = refusal(path)
    if right is None:
        assert message == "mine.yaml: train.lr: input should be a valid number, not '1.25e-5x'"
    else:
        assert "train.lr: " in message
        assert message.endswith(f" is text to YAML, which wants a point and no quotes in a number: write {right}")
        assert isinstance(yaml.safe_load(right), float)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": {"name": "folder", "path": None}}, "dataset.path is needed when dataset.name is folder"),
        ({"split": {"test": 0.5, "val": 0.5}}, "split.test + split.val = 1 leaves no video to train on"),
        ({"model": {"frames": 15, "alpha": 4}}, "model.frames 15 is not a multiple of model.alpha 4"),
        ({"model": {"width": 10, "beta_inv": 4}}, "model.width 10 is not a multiple of model.beta_inv 4"),
        ({"model": {"fusion_kernel": 4}}, "model.fusion_kernel 4 is even; its centre frame needs an odd one"),
        ({"augment": {"scale": [0.9, 0.2]}}, "augment.scale [0.9, 0.2] must be two numbers, 0 < low <= high"),
        ({"augment": {"scale": [0.5, 1.5]}}, "augment.scale [0.5, 1.5] must be two shares of the frame"),
        ({"augment": {"speed": [2.0, 0.5]}}, "augment.speed [2.0, 0.5] must be two numbers, 0 < low <= high"),
        ({"augment": {"aspect": [0.0, 1.0]}}, "augment.aspect [0.0, 1.0] must be two numbers, 0 < low <= high"),
        (
            {"model": {"sampling": "uniform"}, "augment": {"strides": [1, 2]}},
            "augment.strides changes the stride, which model.sampling uniform has no use for: set it to null",
        ),
        (
            {"model": {"sampling": "uniform"}, "augment": {"speed": [0.5, 2.0]}},
            "augment.speed changes the stride, which model.sampling uniform has no use for: set it to [1.0, 1.0]",
        ),
        ({"train": {"nesterov": True}}, "train.nesterov is for train.optimizer sgd with train.momentum above 0"),
        (
            {"train": {"nesterov": True, "optimizer": "sgd", "momentum": 0.0}},
            "train.nesterov is for train.optimizer sgd with train.momentum above 0",
        ),
        (
            {"pretrain": {"epochs": 3}, "model": {"weights": "a.pt"}},
            "pretrain.epochs is 3, and model.weights a.pt: a network starts from one of the two",
        ),
        ({"train": {"warmup": 5, "epochs": 5}}, "train.warmup 5 must be shorter than train.epochs 5"),
        (
            {"train": {"batch": 7, "accumulate": 4}},
            "train.accumulate 4 leaves fewer than two of train.batch 7 clips a part",
        ),
        (
            {"model": {"weights": "a.pt"}, "train": {"precise_bn": 1, "freeze": "res2"}},
            "train.precise_bn would take anew the statistics that train.freeze keeps",
        ),
        (
            {"model": {"weights": "a.pt"}, "train": {"precise_bn": 1, "freeze_norms": True}},
            "train.precise_bn would take anew the statistics that train.freeze_norms keeps",
        ),
        ({"model": {"crop": 64}, "extract": {"short_side": 48}}, "model.crop 64 is larger than extract.short_side 48"),
    ],
)
def test_an_impossible_combination_is_refused_by_name(tmp_path, changes, message):
    refused = refusal(write(tmp_path / "mine.yaml", **changes))
    assert refused.startswith(f"mine.yaml: {message}")
    assert "\n" not in refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"train: [", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"", "expected sections with settings"),
        (b"- lr\n", "expected sections with settings"),
        (b"train:\n", "train: input should be a valid dictionary"),
    ],
)
def test_a_file_that_is_no_params_file_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text)
    refused = refusal(path)
    assert "mine.yaml: " in refused
    assert message in refused
    assert "\n" not in refused


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert refusal(tmp_path / "none.yaml") == f"{tmp_path / 'none.yaml'}: no such file"
    assert refusal(tmp_path).startswith(f"{tmp_path}: ")


# --set


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("train.lr=0.02", {"train": {"lr": 0.02}}),
        ("train.lr=1e-3", {"train": {"lr": 0.001}}),
        ("train.lr = 2E-4", {"train": {"lr": 0.0002}}),
        ("train.epochs=7", {"train": {"epochs": 7}}),
        ("train.clip_norm=null", {"train": {"clip_norm": None}}),
        ("model.zero_init=true", {"model": {"zero_init": True}}),
        ("augment.scale=[0.5, 1.0]", {"augment": {"scale": [0.5, 1.0]}}),
        ("dataset.mirror={}", {"dataset": {"mirror": {}}}),
        ("dataset.mirror={Left: Right}", {"dataset": {"mirror": {"Left": "Right"}}}),
        ("dataset.group=_g(\\d+)", {"dataset": {"group": "_g(\\d+)"}}),
        ("dataset.path=/a b/c=d", {"dataset": {"path": "/a b/c=d"}}),
        ('dataset.path="2019"', {"dataset": {"path": "2019"}}),
    ],
)
def test_set_takes_a_value_as_params_yaml_does(text, parsed):
    assert parse_override(text) == parsed


@pytest.mark.parametrize("text", ["train.lr", "lr=1", "train=1", ".lr=1", "train.=1", "="])
def test_set_says_what_it_expects(text):
    with pytest.raises(UserError, match=r"--set .*: expected SECTION.KEY=VALUE, e.g. train.lr=0.02"):
        parse_override(text)


def test_set_says_how_to_give_text_that_yaml_cannot_read():
    with pytest.raises(UserError, match="put text into single quotes") as refused:
        parse_override("dataset.group=[a-z]+_(p.)")
    advice = re.search(r'"(.*)"$', str(refused.value))[1]
    assert parse_override(advice.replace("…", r"[a-z]+\d_(p.)")) == {"dataset": {"group": r"[a-z]+\d_(p.)"}}


def test_the_last_set_wins_and_the_file_stays(file):
    before = file.read_text()
    params = load(file, overrides=["train.lr=0.5", "train.lr=0.25"])
    assert params.train.lr == 0.25
    assert params.model_dump() == DEFAULTS | {"train": DEFAULTS["train"] | {"lr": 0.25}}
    assert file.read_text() == before


# Recipes


def test_apply_without_a_recipe_gives_the_defaults_and_then_changes_nothing(tmp_path):
    target = tmp_path / "params.yaml"
    shutil.copy(paths.PARAMS, target)
    assert apply([], [], target=target) == load(target) == Params()
    once = target.read_bytes()
    apply([], [], target=target)
    assert target.read_bytes() == once
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_apply_writes_a_file_that_is_not_there(tmp_path):
    apply([], ["train.lr=0.5"], target=tmp_path / "new.yaml")
    assert load(tmp_path / "new.yaml").train.lr == 0.5


def test_apply_changes_the_line_of_a_setting_and_no_other(file):
    before = file.read_text().splitlines()
    apply([], ["train.epochs=7777"], target=file)
    changed = [(old, new) for old, new in zip(before, file.read_text().splitlines(), strict=True) if old != new]
    assert len(changed) == 1
    old, new = changed[0]
    assert new.split("#")[0].split() == ["epochs:", "7777"]
    assert new.split("#")[1] == old.split("#")[1]


def test_apply_keeps_comments_also_the_users_own(file):
    text = file.read_text().replace("\ntrain:", "\n# tried on Tuesday: worse\ntrain:")
    file.write_text(text + "# the end\n")
    comments = [line.split("#", 1)[1] for line in file.read_text().splitlines() if "#" in line]
    apply([paths.RECIPES / "baseline-2019.yaml"], ["runtime.cores=3"], target=file)
    assert [line.split("#", 1)[1] for line in file.read_text().splitlines() if "#" in line] == comments
    assert " tried on Tuesday: worse" in comments


def test_apply_writes_null_as_null_and_collections_in_one_line(file):
    apply([], ["runtime.cores=3", "dataset.mirror={}", "augment.scale=[0.25, 0.5]"], target=file)
    apply([], ["train.clip_norm=null", "dataset.mirror={A: B, C: D}", "augment.scale=[0.25, 0.5]"], target=file)
    text = file.read_text()
    for line in ("  cores: null ", "  clip_norm: null ", "  mirror: {A: B, C: D} ", "  scale: [0.25, 0.5] "):
        assert f"\n{line}" in text


@pytest.mark.parametrize("word", ["Yes", "off", "12:30", "1e3", "~", "2026-11-27", "0o17", "=", "Walk", "a: b", "#1"])
def test_a_word_that_is_none_to_yaml_stays_one(file, word):
    given = ["dataset.name=folder", "dataset.path=x", "dataset.mirror={}", f"dataset.classes=['{word}', 'Run']"]
    apply([], given, target=file)
    assert load(file).dataset.classes == [word, "Run"]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{train.lr: {low: 0.1, hihg: 0.2}}", "tune.space.train.lr"),
        ("{train.lr: {low: 0.1, high: x}}", "tune.space.train.lr"),
    ],
)
def test_what_is_wrong_in_a_space_is_named_by_its_setting(file, space, message):
    with pytest.raises(UserError, match=message):
        apply([], [f"tune.space={space}"], target=file)


def test_a_small_number_survives_apply(file):
    apply([], ["train.weight_decay=1e-5", "train.lr=1.25e-5"], target=file)
    assert (load(file).train.weight_decay, load(file).train.lr) == (1e-5, 1.25e-5)


def test_apply_mends_a_number_that_yaml_took_for_text(file):
    file.write_text(re.sub(r"\n  lr: [\d.]+", f"\n  lr: {DEFAULTS['train']['lr']:.0e}", file.read_text()))
    assert "is text to YAML" in refusal(file)
    apply([], [], target=file)
    assert load(file) == Params()


def test_apply_drops_what_no_setting_is_called_any_more(file):
    text = file.read_text().replace("\ntrain:", "\nlegacy:\n  old: 1\n\ntrain:\n  older: 2", 1)
    file.write_text(text.replace("\nruntime:", "\nruntime_2:", 1))
    apply([], [], target=file)
    assert load(file) == Params()


def test_recipes_are_laid_on_in_order_and_set_comes_last(file, tmp_path):
    (tmp_path / "one.yaml").write_text("train: {lr: 0.5, epochs: 11}\nevaluate: {views: 7}\n")
    (tmp_path / "two.yaml").write_text("train: {lr: 0.25, momentum: 0.5}\n")
    apply([tmp_path / "one.yaml", tmp_path / "two.yaml"], ["train.momentum=0.75"], target=file)
    changes = {"lr": 0.25, "epochs": 11, "momentum": 0.75}
    expected = DEFAULTS | {
        "train": DEFAULTS["train"] | changes,
        "evaluate": DEFAULTS["evaluate"] | {"views": 7},
    }
    assert load(file).model_dump() == expected


def test_apply_starts_from_the_defaults_and_not_from_the_last_recipe(file):
    apply(["baseline-2019"], [], target=file)
    assert load(file) != Params()
    apply([], [], target=file)
    assert load(file) == Params()


def test_a_mirror_of_a_recipe_replaces_the_default_one(file):
    apply(["folder"], [], target=file)
    assert load(file).dataset.mirror == {}


@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.stem for recipe in RECIPES])
def test_every_recipe_is_valid_and_does_what_it_says(file, recipe):
    apply([recipe], [], target=file)
    params = load(file).model_dump()
    for section, values in yaml.safe_load(recipe.read_text()).items():
        for key, value in values.items():
            assert params[section][key] == value
    by_path = file.read_bytes()
    apply([recipe.stem], [], target=file)
    assert file.read_bytes() == by_path


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("train: {lrr: 1}", "wrong.yaml: train.lrr: unknown setting; did you mean train.lr?"),
        ("train: {lr: 1e-3}", "wrong.yaml: train.lr: '1e-3' is text to YAML"),
        ("dataset: {name: folder}", "dataset.path is needed"),
        ("lr: 0.1", "wrong.yaml: lr: unknown setting"),
        ("", "expected sections with settings"),
    ],
)
def test_a_wrong_recipe_leaves_params_yaml_alone(file, recipe, message):
    before = file.read_bytes()
    wrong = file.with_name("wrong.yaml")
    wrong.write_text(recipe)
    with pytest.raises(UserError) as refused:
        apply([wrong], [], target=file)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert file.read_bytes() == before


def test_a_recipe_that_does_not_exist_is_named(file):
    with pytest.raises(UserError, match=r"^fodler: no such file$"):
        apply(["fodler"], [], target=file)


def test_a_folder_of_the_name_does_not_hide_a_recipe(file, monkeypatch):
    (file.parent / "baseline-2019").mkdir()
    monkeypatch.chdir(file.parent)
    apply(["baseline-2019"], [], target=file)
    assert load(file).train.optimizer == "sgd"


@pytest.mark.parametrize("text", ["train: [", "train: {lr: 1, lr: 2}"])
def test_apply_leaves_a_params_yaml_that_it_cannot_read_alone(tmp_path, text):
    target = tmp_path / "params.yaml"
    target.write_text(text)
    with pytest.raises(UserError, match=r"params.yaml: not valid YAML: .*line 1"):
        apply([], [], target=target)
    assert target.read_text() == text


def test_apply_leaves_the_file_as_it_was_when_the_disk_is_full(file, monkeypatch):
    before = file.read_bytes()

    def torn(self, document, stream):
        stream.write("dataset:")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ruamel.yaml.YAML.dump", torn)
    with pytest.raises(OSError, match="No space left"):
        apply([], ["train.lr=0.5"], target=file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["params.yaml"]


# The command


def test_the_command_shows_and_applies(tmp_path):
    checkout = bare_checkout(tmp_path / "project")
    shown = checkout.run("python", "-m", "src.params", "show").stdout
    assert yaml.safe_load(shown) == DEFAULTS | {"model": DEFAULTS["model"] | Params().model.network()}
    done = checkout.run("python", "-m", "src.params", "apply", "recipes/baseline-2019.yaml", "--set", "train.lr=1e-2")
    assert done.stdout == "params.yaml: defaults + recipes/baseline-2019.yaml\n"
    assert load(checkout.path / "params.yaml").train.lr == 0.01
    assert load(checkout.path / "params.yaml").train.optimizer == "sgd"


def test_show_takes_another_file_and_settings_before_and_after_its_name(file):
    checkout = bare_checkout(file.parent / "project")
    apply([], ["train.epochs=77"], target=file)
    for arguments in (
        ("--params", str(file), "--set", "train.lr=1e-2", "show"),
        ("show", "--params", str(file), "--set", "train.lr=1e-2"),
    ):
        shown = yaml.safe_load(checkout.run("python", "-m", "src.params", *arguments).stdout)
        assert (shown["train"]["epochs"], shown["train"]["lr"]) == (77, 0.01)


def test_a_wrong_setting_ends_the_command_in_one_line(tmp_path):
    checkout = bare_checkout(tmp_path / "project")
    done = checkout.run("python", "-m", "src.params", "show", "--set", "train.lrr=1", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: params.yaml: train.lrr: unknown setting; did you mean train.lr?\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "a" * 64}, "dataset.sha256 is for ucf101 and hmdb51; dataset.name is synthetic"),
        ({"path": "x"}, "dataset.path is for folder, ucf101 and hmdb51; dataset.name is synthetic"),
        ({"name": "folder", "path": "x", "partial": True}, "dataset.partial is for ucf101 and hmdb51"),
        ({"name": "ucf101", "group": "g"}, "dataset.group is for a folder of your own; dataset.name is ucf101"),
        ({"name": "ucf101", "path": "x", "archive": "y"}, "dataset.path and dataset.archive both say where"),
        ({"name": "ucf101", "path": "x", "sha256": "a" * 64}, "dataset.sha256 is of an archive of videos"),
        (
            {"name": "ucf101", "insecure": True, "ca_bundle": "x"},
            "dataset.insecure switches off what dataset.ca_bundle",
        ),
        ({"name": "ucf101", "sha256": "abc"}, "dataset.sha256 'abc' is not 64 hexadecimal digits"),
        ({"classes": ["Walk", "Run", "Walk"]}, "dataset.classes names a class twice: Walk, Run, Walk"),
    ],
)
def test_settings_of_a_dataset_that_would_be_ignored_or_fight_are_refused(changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        check({"dataset": changes}, source="params.yaml")


def test_a_hash_is_the_same_in_either_case():
    assert check({"dataset": {"name": "ucf101", "sha256": "AB" * 32}}, source="").dataset.sha256 == "ab" * 32
