"""What a difference between finalists is worth, from invented answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import TrialState

from src import params
from src.search import finals
from src.search.finals import difference
from src.search.outcome import verdict
from src.search.study import REASON, SLOT, begin, stuck
from src.search.worker import OF, SEED, Search
from src.video.manifest import Video

VIDEOS = [Video(f"{n}.avi", Path(f"{n}.avi"), 0, f"group {n // 2}", 10, str(n)) for n in range(60)]
HOW = {"bootstrap": 4000, "seed": 0}


def hits(*shares: float) -> np.ndarray:
    """A seed for each share, which has so many of the videos right, spread over groups."""
    order = np.random.default_rng(1).permutation(len(VIDEOS))
    return np.array([(order < share * len(VIDEOS)).astype(int) for share in shares])


def test_what_all_seeds_and_groups_say_is_shown():
    found = difference(hits(0.5, 0.52, 0.48), hits(0.8, 0.78, 0.82), VIDEOS, **HOW)
    assert abs(found.mean - 0.3) < 0.01
    assert 0 < found.low < found.mean < found.high
    assert found.shown


def test_what_one_lucky_seed_brings_is_not():
    found = difference(hits(0.5, 0.5, 0.5), hits(0.95, 0.5, 0.5), VIDEOS, **HOW)
    assert found.mean > 0.1
    assert found.low <= 0
    assert not found.shown


def test_the_same_answers_are_no_difference():
    found = difference(hits(0.5), hits(0.5), VIDEOS, **HOW)
    assert (found.mean, found.p, found.turned) == (0.0, 1.0, 0)
    assert not found.shown


def test_the_interval_of_three_seeds_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    videos = [Video(f"{n}.avi", Path(f"{n}.avi"), 0, f"group {n}", 10, str(n)) for n in range(400)]

    def trained() -> np.ndarray:
        """Three seeds of 60 %, which differ by eight points from one to the next."""
        shares = np.clip(0.6 + 0.08 * rng.standard_normal((3, 1)), 0, 1)
        return (rng.random((3, len(videos))) < shares).astype(int)

    found = [difference(trained(), trained(), videos, bootstrap=300, seed=seed) for seed in range(200)]
    assert 0.9 < np.mean([each.low <= 0 <= each.high for each in found]) <= 1


def test_of_two_groups_nothing_can_be_shown_and_that_is_said():
    two = [replace(video, group=f"group {number % 2}") for number, video in enumerate(VIDEOS)]
    found = difference(hits(0.2, 0.2, 0.2), hits(0.9, 0.9, 0.9), two, **HOW)
    assert found.low > 0
    assert (found.turned, found.least_p, found.shown) == (2, 0.25, False)
    assert verdict(found, videos="test").endswith(": no difference is shown, nor could be: they differ in 2 groups")


SLOTS = range(5)
"""Of a search: params.yaml and four trials, of which the last is best."""


def search(*, finalists: int, seeds: int) -> Search:
    """A search that is over, without data, whose seed is 10, by its name; its finals have no training yet."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.InMemoryStorage()
    studies = [
        optuna.create_study(storage=storage, study_name=name, direction="maximize") for name in ("a", "a-finals")
    ]
    for slot in SLOTS:
        attrs = {SLOT: slot, "val": slot / 10, "gap": 0.0}
        studies[0].add_trial(optuna.create_trial(value=slot / 10, user_attrs=attrs))
    base = params.check({"tune": {"finalists": finalists, "seeds": seeds}}, source="a test")
    return Search(base, [], None, storage, *studies)


def train(of: Search, score: dict[int, list[float | None]]) -> list[tuple[int, int]]:
    """Carry out what is planned, in its order, until nothing is: with these scores by slot and seed; None fails.

    Returns `(slot, seed)` of each training.
    """
    made: list[tuple[int, int]] = []
    while True:
        done = {trial.user_attrs[SLOT] for trial in of.finals.trials}
        left = {slot: plan for slot, plan in finals.plan(of, len(SLOTS)).items() if slot not in done}
        if not left:
            return made
        number, plan = next(iter(left.items()))
        slot = plan.attrs[OF]
        seed = plan.attrs[SEED] - of.seed - (slot > 0)
        made.append((slot, seed))
        value, attrs = score[slot][seed], plan.attrs | {SLOT: number, "run": f"run {number}"}
        how = {"state": TrialState.FAIL} if value is None else {"value": value}
        of.finals.add_trial(optuna.create_trial(**how, user_attrs=attrs | ({REASON: "x"} if value is None else {})))


def test_after_each_seed_the_better_half_goes_on():
    four = search(finalists=4, seeds=3)
    scores = {0: [0.5, 0.5, 0.5], 1: [0.4, 0.9, 0.9], 2: [0.6, 0.1, 0.9], 3: [0.7, 0.7, 0.7], 4: [0.3, 0.9, 0.9]}
    made = train(four, scores)
    assert sorted(made) == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (4, 0)]
    assert len(made) == finals.most(four, len(SLOTS))
    assert [seed for slot, seed in made if slot == 0] == [0, 1, 2]
    ranking = finals.finalists(four, finals.plan(four, len(SLOTS)))
    assert [(each.slot, len(each.trials)) for each in ranking] == [(3, 3), (0, 3), (2, 2), (1, 1), (4, 1)]
    assert ranking[0].shown("score") == "70.0 ± 0.0"
    assert ranking[3].shown("score") == "40.0"


def test_a_seed_that_is_not_over_keeps_the_next_from_being_planned():
    four = search(finalists=4, seeds=3)
    first = {(plan.attrs[OF], plan.attrs[SEED]) for plan in finals.plan(four, len(SLOTS)).values()}
    assert first == {(0, 10), (0, 11), (0, 12), (1, 11), (2, 11), (3, 11), (4, 11)}


def test_one_finalist_comes_to_all_seeds():
    assert train(search(finalists=1, seeds=2), {0: [0.5, 0.5], 4: [0.4, 0.3]}) == [(0, 0), (4, 0), (0, 1), (4, 1)]


def test_a_finalist_that_fails_in_its_last_training_is_replaced_by_the_next_best():
    two = search(finalists=2, seeds=2)
    scores = {0: [0.1, 0.1], 4: [0.9, None], 3: [0.8, 0.8], 2: [0.7, 0.7]}
    made = train(two, scores)
    assert made == [(0, 0), (4, 0), (3, 0), (0, 1), (4, 1), (2, 0), (3, 1)]
    assert [(trial.user_attrs[OF], trial.user_attrs[SEED]) for trial in finals.failed(two)] == [(4, 12)]
    ranking = finals.finalists(two, finals.plan(two, len(SLOTS)))
    assert [each.slot for each in ranking] == [3, 0, 2]


def test_if_all_fail_params_yaml_is_left():
    two = search(finalists=2, seeds=2)
    made = train(two, {0: [0.1, 0.1]} | {slot: [None] for slot in range(1, 5)})
    assert {slot for slot, _ in made} == set(SLOTS)
    assert [each.slot for each in finals.finalists(two, finals.plan(two, len(SLOTS)))] == [0]


def test_what_fails_stays_in_the_plan_so_that_three_in_a_row_are_seen():
    two = search(finalists=2, seeds=2)
    begin(two.finals)
    made = []
    while not (reason := stuck(two.finals, plan := finals.plan(two, len(SLOTS)))):
        done = {trial.user_attrs[SLOT] for trial in two.finals.trials}
        number, each = next((slot, each) for slot, each in plan.items() if slot not in done)
        made.append(each.attrs[OF])
        attrs = each.attrs | {SLOT: number}
        failed = {"state": TrialState.FAIL, "user_attrs": attrs | {REASON: "out of memory: 12 GB"}}
        two.finals.add_trial(optuna.create_trial(**({"value": 0.5, "user_attrs": attrs} if made == [0] else failed)))
    assert (reason, made) == ("out of memory: 12 GB", [0, 4, 3, 2])


def test_one_that_came_to_all_seeds_counts_though_later_trials_look_better():
    one = search(finalists=1, seeds=2)
    train(one, {0: [0.1, 0.1], 4: [0.9, 0.9]})
    one.study.add_trial(optuna.create_trial(value=0.95, user_attrs={SLOT: 5, "val": 0.95, "gap": 0.0}))
    planned = finals.plan(one, 6)
    assert {each.attrs[OF] for each in planned.values()} == {0, 5}
    assert [each.slot for each in finals.finalists(one, planned)] == [4, 0]


def test_trials_that_were_ended_early_come_behind_the_complete_ones():
    one = search(finalists=1, seeds=2)
    for slot, values in ((5, [0.1, 0.9]), (6, [0.3, 0.2, 0.3]), (7, [0.2, 0.8])):
        reported = dict(enumerate(values, start=1))
        attrs = {SLOT: slot}
        one.study.add_trial(
            optuna.create_trial(state=TrialState.PRUNED, intermediate_values=reported, user_attrs=attrs)
        )
    assert finals.ranked(one, 8) == [4, 3, 2, 1, 6, 5, 7]


def test_test_videos_that_were_asked_of_others_are_counted():
    two = search(finalists=2, seeds=2)
    train(two, {0: [0.1, 0.1], 4: [0.9, 0.9], 3: [0.8, 0.8]})
    best, own, other = finals.finalists(two, finals.plan(two, len(SLOTS)))
    assert [each.slot for each in (best, own, other)] == [4, 0, 3]
    runs = [trial.user_attrs["run"] for trial in (*best.trials, *own.trials)]
    two.finals.set_user_attr(finals.TESTED, {finals._of(VIDEOS): dict.fromkeys(runs, "1")})
    assert finals.tested_before(best, two, VIDEOS) == 0
    assert finals.tested_before(other, two, VIDEOS) == 2
    assert finals.tested_before(other, two, VIDEOS[1:]) == 0  # other videos
    # Another search in the same storage, which asks of its own trial 4.
    later = optuna.create_study(storage=two.storage, study_name="b-finals", direction="maximize")
    assert finals.tested_before(best, replace(two, finals=later), VIDEOS) == 2
