# The front doors. Every target installs what it needs into .venv first; `make` alone lists them.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first Python that runs and fits; a name on PATH may be a shim that does not run.
PYTHON := $(shell for python in python3 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$python && break; \
	done || echo python3)

# Stages are run by `python`, whoever calls DVC: it has to be ours.
export PATH := $(CURDIR)/$(BIN):$(PATH)

# DVC stops for a user without a name, as a uid has none that only a container knows: then the uid is the name.
export USER ?= $(shell id -un 2>/dev/null)

# Three test processes keep two cores busy, since some tests wait for servers. The tests of one file stay together and
# share what they set up.
PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder

# Writes params.yaml from PROFILE; stops if that would lose edits, unless FORCE is set.
USE = use $(PROFILE) $(if $(FORCE),--force)

.PHONY: help repro flow profile ui test torture fuzz coverage check lint format remote bench doctor assets constraints clean
.DELETE_ON_ERROR:

help:  ## list these commands
	@awk -F ':[^#]*## *' '/^[a-z]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' Makefile

repro: $(STAMP)  ## bring data/reports up to date; PROFILE=sample|study|own_videos|small|paper first writes params.yaml
	@$(BIN)/python -m pipelines.profile $(if $(PROFILE),$(USE),check)
	@$(BIN)/dvc repro
	@echo 'report: data/reports/report.html'

flow: $(STAMP)  ## the same as a Prefect flow: independent stages in parallel, logs and tables in its UI
	@$(BIN)/python -m pipelines.profile $(if $(PROFILE),$(USE),check)
	@$(BIN)/python -m pipelines.reproduce

profile: $(STAMP)  ## list the profiles; PROFILE=study writes params.yaml without a run, FORCE=1 over your edits
	@$(BIN)/python -m pipelines.profile $(if $(PROFILE),$(USE))

ui: $(STAMP)  ## Prefect's UI on loopback: start, watch and cancel runs in a browser; PORT=4200
	@$(BIN)/python -m pipelines.ui $(if $(PORT),--port $(PORT))

test: $(STAMP)  ## run all tests
	@$(BIN)/python -m pytest $(PARALLEL)

torture: $(STAMP)  ## kill stages and runs, cut the power, break the disk, and run again: an hour; KILLS=20 a stage
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m torture tests/faults
	@$(MAKE) --no-print-directory fuzz

fuzz: $(STAMP)  ## give a million damaged and odd inputs to every reader, and tell what it may not do; INPUTS= SECONDS=
	@PYTHONPATH=.:tests/stages:tests/fuzz OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/campaign.py \
		$(if $(INPUTS),--inputs $(INPUTS)) $(if $(SECONDS),--seconds $(SECONDS))

# Without tests/faults, tests/fuzz and tests/pipelines: they reach little else, and crawl when each process is counted.
coverage: $(STAMP)  ## which branches of fabnet and stages their tests reach, and which not
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(PARALLEL) tests/fabnet tests/stages tests/contracts; status=$$?; \
		$(BIN)/coverage combine --quiet && $(BIN)/coverage report --sort cover && exit $$status

check: $(STAMP)  ## run the tests that take seconds, then lint
	@$(BIN)/python -m pytest $(PARALLEL) -m "not slow and not gpu and not network and not torture"
	@$(MAKE) --no-print-directory lint

lint: $(STAMP)  ## formatting, lint, types and import rules
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/pyright
	@$(BIN)/lint-imports

format: $(STAMP)  ## format, and correct what lint can correct
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

remote: $(STAMP)  ## a folder through which clones share results by dvc push and dvc pull; FOLDER=../<project>-remote
	@$(BIN)/python -m pipelines.remote $(if $(FOLDER),'$(FOLDER)')

bench: $(STAMP)  ## speed and memory against named comparisons, kept in benchmarks/results; FRAMES=9000000
	@$(BIN)/python -m benchmarks.run $(if $(FRAMES),--frames $(FRAMES))

doctor: $(STAMP)  ## versions, device, disk, DVC and git, what is wrong, and what the next run lacks
	@$(BIN)/python -m pipelines.doctor

assets: $(STAMP)  ## the files of a release in build/assets: model, model card, report, table, checksums
	@$(BIN)/python -m pipelines.assets

constraints: $(STAMP)  ## pin the newest versions within the bounds of pyproject.toml
	@$(BIN)/python -m pipelines.constraints

clean:  ## remove caches, logs and Prefect's database; data, unfinished work and .venv stay
	@rm -rf .logs .prefect .pytest_cache .ruff_cache .import_linter_cache .coverage .coverage.* build/assets build/lib build/bdist.* *.egg-info
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# The stamp is touched last: an installation that was cut short is taken up again by the next command.
$(STAMP): constraints.txt pyproject.toml
	@$(PYTHON) pipelines/prerequisites.py
	@$(PYTHON) -m venv $(VENV)
	@# A dlib built here before and the prebuilt dlib-bin are the same module: both go before one of them is installed.
	@! $(BIN)/python -m pip show --quiet dlib 2>/dev/null || $(BIN)/python -m pip uninstall --quiet --yes dlib dlib-bin
	@$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	@test -e .git || $(BIN)/dvc config --local core.no_scm true
	@touch $@
