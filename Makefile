# `make repro` needs Python 3.11 or newer and git, and sets up the rest; `make test` also the Debian packages of the README.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile
# On all cores, unlike pip. Where PYTHONDONTWRITEBYTECODE is set, as in many containers, Python itself never would, and
# each start takes twice as long. What is written for another Python fails, and is not imported either.
COMPILE = $(BIN)/python -m compileall -qq -j 0 .venv/lib || true

# Read by every Python that starts in .venv, also through `.venv/bin/dvc` when it is not activated: the stages'
# `python` is then this one, and neither DVC nor MLflow reports usage.
define SITE
import os, sys; \
os.environ["PATH"] = os.pathsep.join([os.path.join(sys.prefix, "bin"), os.environ.get("PATH", "")]); \
os.environ.update(DVC_NO_ANALYTICS="1", MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
endef
export SITE

.PHONY: help repro test lint bench ui clean lock

help: ## list these commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

repro: .venv/installed ## set up, then run the pipeline: dvc repro
	$(BIN)/dvc repro

test: .venv/installed .venv/tested ## set up, then run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 30

lint: .venv/installed ## check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

bench: .venv/installed .venv/benched ## set up, then measure the speed beside what one would pick instead
	$(BIN)/python -m bench.decoding
	$(BIN)/python -m bench.loading
	$(BIN)/python -m bench.network
	$(BIN)/python -m bench.evaluation
	$(BIN)/python -m bench.startup
	$(BIN)/python -m bench.growth

ui: .venv/installed ## look at the runs, at http://127.0.0.1:5000
	$(BIN)/mlflow ui

# .state/spool stays too: points that MLflow has not taken yet; `python -m src.tracking send` sends them.
clean: ## remove what the pipeline made and what it would go on from; the runs in MLflow stay
	if [ -L data/frames ]; then find data/frames/ -mindepth 1 -delete; else rm -rf data/frames; fi  # a link to another disk stays one
	rm -rf data/raw data/videos.csv data/missing.txt data/splits
	if [ -d .state ]; then find .state -mindepth 1 -maxdepth 1 ! -name spool -exec rm -rf {} +; fi
	rm -rf artifacts/model.pt artifacts/history.csv artifacts/calibration.json artifacts/evaluation artifacts/evaluation-* artifacts/ablation artifacts/report.html artifacts/data_report.html artifacts/preview.html artifacts/tune.html artifacts/tune.json artifacts/tune artifacts/export .dvc/cache .dvc/tmp
	find src tests bench -name __pycache__ -prune -exec rm -rf {} +
	rm -rf .pytest_cache .ruff_cache

lock: .venv/installed ## requirements.txt → requirements.lock
	$(PIP) uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate requirements.txt -c requirements-app.txt -o requirements.lock

.venv/tested: requirements-test.txt requirements-app.txt requirements-cluster.txt requirements-export.txt .venv/installed
	$(PIP) -r requirements-test.txt -c requirements.lock
	@$(COMPILE)
	@touch $@

.venv/benched: requirements-bench.txt .venv/tested
	$(PIP) -r requirements-bench.txt -c requirements.lock
	@$(COMPILE)
	@touch $@

.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(PIP) -r requirements.lock
	@$(COMPILE)
	@$(BIN)/python -c 'import os, sysconfig; open(sysconfig.get_path("purelib") + "/pipeline.pth", "w").write(os.environ["SITE"] + "\n")'
	@touch $@
