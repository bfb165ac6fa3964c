"""A search that goes on → what is printed of it: a line for each trial that has ended, and a bar with the best one."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from src.search.study import DIED, REASON, SLOT, Slots
from src.search.worker import OF, OWN_FIRST, SEED


class Progress:
    """Of `total` trials. What had ended before is counted, and not said again."""

    def __init__(self, title: str, before: Slots, *, total: int):
        self.said = {trial.number for trial in before.done}
        self.bar = tqdm(total=total, initial=len(self.said), desc=title, unit="trial", disable=None)
        self.text = ""
        self._tell(before)

    def update(self, slots: Slots) -> None:
        """Say what is new."""
        for trial in slots.done:
            if trial.number not in self.said:
                self.said.add(trial.number)
                best = "  best" if trial == _best(slots) else ""
                self.bar.write(f"{_name(trial)}: {ending(trial)}{best}")
                self.bar.total = max(self.bar.total, len(self.said))  # a finalist that fails is replaced
                self.bar.update()
        self._tell(slots)

    def _tell(self, slots: Slots) -> None:
        parts = [f"{slots.of(TrialState.PRUNED)} pruned", f"{slots.of(TrialState.FAIL)} failed"]
        if best := _best(slots):
            parts.insert(0, f"best {_name(best)}: {_numbers(best)}")
        at_work = sorted((trial for trial in slots.last.values() if trial.state == TrialState.RUNNING), key=_name)
        if epochs := [f"{_name(trial)}: epoch {trial.last_step + 1}" for trial in at_work if trial.last_step]:
            parts.append(f"at work: {', '.join(epochs)}")
        text = ", ".join(part for part in parts if not part.startswith("0 "))
        if text != self.text:
            self.text = text
            self.bar.set_postfix_str(text)

    def close(self) -> None:
        self.bar.close()


def _best(slots: Slots) -> FrozenTrial | None:
    """By score; with two objectives none is."""
    one = [trial for trial in slots.complete if len(trial.values) == 1]
    return max(one, key=lambda trial: trial.value, default=None)


def _name(trial: FrozenTrial) -> str:
    attrs = trial.user_attrs
    again = OF in attrs and attrs[SLOT] != OWN_FIRST
    return f"trial {attrs[OF]} again, seed {attrs[SEED]}" if again else f"trial {attrs[SLOT]}"


def _numbers(trial: FrozenTrial) -> str:
    attrs = trial.user_attrs
    return f"validation {attrs['val']:.1%}, gap {100 * attrs['gap']:.1f} points"


def ending(trial: FrozenTrial) -> str:
    """How a trial has ended, in a few words."""
    if trial.state == TrialState.COMPLETE:
        score = f", score {trial.value:.3f}" if len(trial.values) == 1 else ""
        return f"{_numbers(trial)}{score}"
    if trial.state == TrialState.PRUNED:
        return f"ended after epoch {trial.last_step}, at a score of {trial.intermediate_values[trial.last_step]:.3f}"
    return f"failed: {trial.user_attrs.get(REASON, DIED).splitlines()[0]}"
