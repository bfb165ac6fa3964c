"""One spool → its run in MLflow: records, files and system metrics in order, each again until it is answered.

Sending again what MLflow has got already is harmless: its store keeps one of points that are the same in key, step,
time and value, and everything else replaces itself.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from typing import Any

from src import files, paths
from src.tracking import registry, store
from src.tracking.failures import DeletedError, Patience, WaitError, believed, http_timeout, reason, refuses
from src.tracking.recorder import shown
from src.tracking.spool import FILES, Record, Spool, everyone

BATCH = {"metrics": 1000, "params": 100, "tags": 100}
"""What MLflow takes in one request."""

LOOK = 0.2
"""Seconds between looks for new records."""


class Delivery:
    """Sends one spool, whose sender's lock is held."""

    def __init__(self, spool: Spool, *, say: bool = True):
        self.spool, self.run, self.say = spool, spool.run, say
        self.sent = spool.sent()
        self.run_id: str | None = None
        self.attached = False
        self.deleted = False
        self.server, self.files = Patience(), Patience()
        self.count = 0
        self.where = f"MLflow at {shown(self.run['uri'])}"

    def step(self) -> bool:
        """Send the next batch of each kind; False if there was nothing, or it could not be sent."""
        moved = False
        if not self.server.ready:
            return False
        try:
            if self.spool.waits():
                self.open()
                moved = self._send_system() | self._send_records() | self._send_file()
        except WaitError:
            self.server.until = time.monotonic() + LOOK
        except Exception as error:  # of any of MLflow's stores; nothing is lost, and it is said
            if self.server.failed(error):
                does_not = "refuses the run" if refuses(error) else "does not answer"
                self._print(f"{self.where} {does_not} ({self.server.why}); points are kept and sent later")
            self.report()
        if moved:
            self._answers()
        return moved

    def _answers(self) -> None:
        if self.server.worked():
            self._print(f"{self.where} answers again")

    def report(self, *, allowance: float = 0.0) -> None:
        """Tell the trainer, which waits in the end, how things stand."""
        state = {"count": self.count, "away": self.server.since or self.files.since, "allowance": allowance}
        files.write_text(self.spool.folder / "progress", json.dumps(state))

    def open(self) -> None:
        """Connect, and find or make the run."""
        if self.run_id is not None:
            return
        self.client, self.experiment = store.connect(self.run["uri"], self.run["experiment"])
        known = self.spool.run_id
        if known is not None and self._lifecycle(known) != "active":
            if not self._goes_on():
                self.run_id, self.deleted = known, True
                return
            known, self.sent = None, dict.fromkeys(self.sent, 0)  # deleted meanwhile: all points make a new run
            self.spool.refused.unlink(missing_ok=True)
        run = self.client.get_run(known) if known else self._training_run() or self._own()
        self.attached = run.data.tags.get("spool") != self.spool.name
        self.spool.run_id = self.run_id = run.info.run_id
        self._answers()
        self._moved()

    def _goes_on(self) -> bool:
        return any(record["kind"] == "resume" for _, record in self.spool.records.read(self.sent["records"]))

    def _lifecycle(self, run_id: str) -> str:
        from mlflow import MlflowException

        try:
            return self.client.get_run(run_id).info.lifecycle_stage
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return "deleted"

    def _own(self) -> Any:
        """The run of this spool: there already, if a sender before this one got no answer, or no time to note it."""
        found = store.of_spool(self.client, self.experiment, self.spool.name)
        if not found:
            tags = {"spool": self.spool.name}
            tags |= {key: value for key, value in self._tags().items() if key.startswith("mlflow.")}
            if self.run["parent"] and (parent := self._run_of(self.run["parent"])):
                tags["mlflow.parentRunId"] = parent.info.run_id
            if self.run["evaluates"]:
                tags["trained in"] = self.run["evaluates"]["trained in"]
            start = {"start_time": self.run["time"], "run_name": self.run["name"]}
            created = self.client.create_run(self.experiment, tags=tags, **start)
            # An earlier request, of which nothing came back, may have been answered meanwhile: all take the same one.
            found = store.of_spool(self.client, self.experiment, self.spool.name) or [created]
        return found[0]

    def _tags(self) -> dict[str, str]:
        return self.run["tags"] | (self.run["evaluates"] or {}).get("tags", {})

    def _run_of(self, name: str) -> Any | None:
        """Another run, by its id or its spool's name; made, if it only waits here to be."""
        other = Spool(name)
        if re.fullmatch("[0-9a-f]{16}", name) and other.exists() and other.run_id is None:
            if other.trainer.holder is not None or not other.sender.acquire():
                raise WaitError
            try:
                Delivery(other, say=False).open()
            finally:
                other.sender.release()
        return store.find(self.client, self.experiment, name)

    def _training_run(self) -> Any | None:
        """The run that an evaluation belongs to, marked as this one's; None if it becomes a run of its own."""
        evaluates = self.run["evaluates"]
        if evaluates is None:
            return None
        run = self._run_of(evaluates["run"]) if evaluates["run"] else None
        name = run.info.run_id if run else evaluates["run"]
        evaluates["trained in"] = str(name)
        if evaluates["own"]:
            return None
        if run is None:
            self._print(f"note: MLflow has no run {name}; this evaluation is a run of its own")
            return None
        by = run.data.tags.get("evaluation")
        before = by is not None or any(key.startswith("test.") for key in run.data.metrics)
        if by != self.spool.name and (before or self._is_second({evaluates["run"], run.info.run_id})):
            self._print(f"note: run {name} has been evaluated before; this evaluation is a run of its own")
            return None
        self.client.set_tag(run.info.run_id, "evaluation", self.spool.name)
        return run

    def _is_second(self, names: set[str]) -> bool:
        """Whether an earlier evaluation of the same run still waits here."""
        for other in everyone():
            if other.name == self.spool.name:
                return False
            evaluates = other.run["evaluates"]
            if evaluates and not evaluates["own"] and evaluates["run"] in names and other.unsent()[0]:
                return True
        return False

    def _send_system(self) -> bool:
        metrics, end = self._points(self.spool.system, self.sent["system"])
        if end > self.sent["system"]:
            self.spool.system.sync()
            self._log("metrics", metrics)
            self._moved(system=end)
            return True
        return False

    def _points(self, log: Any, start: int) -> tuple[list[Any], int]:
        """Points from byte `start` on, a batch of them, up to what is none; and where that is."""
        from mlflow.entities import Metric

        metrics = []
        for end, record in log.read(start):
            if record["kind"] == "points" and len(metrics) < BATCH["metrics"]:
                values = record["values"].items()
                metrics += [Metric(key, value, record["time"], record["step"]) for key, value in values]
            elif record["kind"] not in FILES:
                break
            start = end
        return metrics, start

    def _send_records(self) -> bool:
        start = self.sent["records"]
        metrics, end = self._points(self.spool.records, start)
        if end > start:
            self.spool.records.sync()
            self._log("metrics", metrics)
            self._moved(records=end)
            return True
        for end, record in self.spool.records.read(start):
            self.spool.records.sync()
            if record["kind"] == "end" and self.sent["files"] < start and not self.files.failures:
                return False  # its files first, unless they cannot be sent
            self._tell(record)
            self._moved(records=end)
            return True
        return False

    def _tell(self, record: Record) -> None:
        """Send a record that is about the run as a whole."""
        from mlflow.entities import Param, RunTag

        kind = record["kind"]
        tags = self._tags() if kind == "run" and not self.attached else record.get("tags", {})
        self._log("params", [Param(key, value) for key, value in record.get("params", {}).items()])
        self._log("tags", [RunTag(key, value) for key, value in tags.items()])
        if self.attached or self.deleted:
            return
        if kind == "resume":
            self._ask(record, lambda: self.client.update_run(self.run_id, status="RUNNING"))
        elif kind == "end":
            ended = {"status": record["status"], "end_time": record["time"]}
            self._ask(record, lambda: self.client.set_terminated(self.run_id, **ended))
            for spare in store.of_spool(self.client, self.experiment, self.spool.name):
                if spare.info.run_id != self.run_id:  # made, though the answer was lost
                    self.client.delete_run(spare.info.run_id)

    def _send_file(self) -> bool:
        start = self.sent["files"]
        for end, record in self.spool.records.read(start):
            if record["kind"] not in FILES:
                start = end
                continue
            if start > self.sent["files"]:
                self._moved(files=start)
            if not self.files.ready:
                return False
            try:
                self._give(record)
            except Exception as error:  # of any artifact store
                if not refuses(error):
                    self.client.get_run(self.run_id)  # raises if it is the server that is away
                    if self.files.failed(error):
                        self._print(f"{self.where} takes no files ({self.files.why}); they are kept and sent later")
                    self.report()
                    return False
                self._refuse(record, error)
            else:
                self.spool.drop_file(record["file"])
            if self.files.worked():
                self._print(f"{self.where} takes files again")
            self._moved(files=end)
            return True
        if start > self.sent["files"]:
            self._moved(files=start)
        return False

    def _give(self, record: Record) -> None:
        """Send a file, or a model's folder. Of checkpoints also remove those that have fallen out."""
        if self.deleted:
            raise DeletedError
        path = self.spool.folder / record["file"]
        if record["kind"] == "model" and self._registered(record):
            return
        folder = store.FOLDER if record["kind"] == "checkpoint" else record["folder"]
        try:
            size = files.size(path)
            self.client.get_run(self.run_id)  # an upload may take long, so not to a server that is away
            self.report(allowance=size / 1e6)
            with http_timeout(60 + size / 1e6):
                send = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
                send(self.run_id, str(path), folder)
        except FileNotFoundError:
            if path.exists():
                raise  # it is the store that has no such place; else the file has fallen out meanwhile, or was sent
        if record["kind"] == "checkpoint":
            self._settle_checkpoints(record)
        elif record["kind"] == "model":
            self._consider(registry.register(self.client, record["name"], self.run_id, tags=record["tags"]))

    def _registered(self, record: Record) -> bool:
        """Whether the same model is registered already; a sender before this one may not have got to say so."""
        there = registry.with_content(self.client, record["name"], record["tags"][registry.CONTENT])
        if there is not None:
            self._consider(there)
        return there is not None

    def _consider(self, version: Any) -> None:
        """Have a version become champion if it is better than the one that is."""
        from src.serving import champion

        self._print(champion.consider(self.client, version)[1])

    def _settle_checkpoints(self, record: Record) -> None:
        kept = record["kept"]
        repository = store.artifacts(self.client, self.client.get_run(self.run_id))
        for each in repository.list_artifacts(store.FOLDER):
            match = store.NAME.fullmatch(each.path.rpartition("/")[2])
            if match and int(match[1]) not in kept:
                repository.delete_artifacts(each.path)
        for tag, epoch in (("best", record["best"]), ("last", record["epoch"])):
            if epoch in kept:
                self.client.set_tag(self.run_id, f"checkpoint.{tag}", str(epoch))

    def _log(self, kind: str, items: list[Any]) -> None:
        """Send metrics, params or tags; what MLflow refuses is put aside, and the rest of it sent."""
        for start in range(0, len(items), BATCH[kind]):
            self._log_batch(kind, items[start : start + BATCH[kind]])

    def _log_batch(self, kind: str, items: list[Any]) -> None:
        if self.deleted:
            self._refuse({kind: [dict(item) for item in items]}, DeletedError())
            return
        try:
            believed(lambda: self.client.log_batch(self.run_id, **{kind: items}))
        except Exception as error:
            if not refuses(error):
                raise
            self.deleted = self._lifecycle(self.run_id) != "active"
            if self.deleted or len(items) == 1:
                self._refuse({kind: [dict(item) for item in items]}, error)
                return
            middle = len(items) // 2
            self._log_batch(kind, items[:middle])
            self._log_batch(kind, items[middle:])

    def _ask(self, record: Record, request: Any) -> None:
        try:
            believed(request)
        except Exception as error:
            if not refuses(error):
                raise
            self._refuse(record, error)

    def _refuse(self, what: Record, error: Exception) -> None:
        """Put aside what MLflow will never take. Said for the first of a kind."""
        path = self.spool.refused
        text = reason(error)
        if isinstance(error, DeletedError) or self.deleted:
            text = f"run {self.run_id} has been deleted"
        said = path.exists() and text in path.read_text()
        with path.open("a") as file:
            file.write(json.dumps({"why": text, "what": what}) + "\n")
        if not said:
            where = path.relative_to(paths.MAIN)
            self._print(f"warning: {self.where} refuses what it is sent ({text}); that is kept in {where}")

    def _moved(self, **sent: int) -> None:
        """Note how far has been dealt with."""
        self.sent |= sent
        self.spool.mark_sent(self.sent)
        self.count += 1
        self.report()

    def _print(self, text: str) -> None:
        if self.say:
            with contextlib.suppress(BrokenPipeError):  # the training's output may have nobody left who reads it
                print(text, file=sys.stderr, flush=True)
