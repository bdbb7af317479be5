# `make` prints the list. `make check` never writes; `make fix` may.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

# The first Python that really runs and is new enough (a version manager may leave commands behind that do not run).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

# How much is run. Each may be set on the command line: make sim SEEDS=1-1000
SEEDS ?= 1-300
SEED ?=
PROFILE_SEEDS ?= 1-20
MINUTES ?= 30
KILLS ?= 20
WORKERS ?= 2
# These mostly wait: for disks, elections, other processes.
STACK_WORKERS ?= 4

# Everything that a run writes lies in the clone (or in a fresh temporary folder): two clones never meet.
VENV := .venv
PY := $(VENV)/bin/python
COVER := $(PY) -m coverage run -m pytest -q
LOCK := requirements-dev.lock
STAMP := $(VENV)/installed-$(shell cat pyproject.toml $(LOCK) | cksum | tr ' ' '-')
TIMES := build/times
# Not named MAKE, so that `make -n test` prints and does not run.
SELF := $(MAKE)

# A suite that runs no test fails (--every-suite-runs). What coverage counts of each test: tests/house/counting.py. A
# worker that has nothing left takes tests from another one; tests of one module stay together while they can.
PURE_SUITES := tests/house tests/unit tests/fuzz tests/golden tests/paper tests/museum tests/reference tests/sim
DEEP_SUITES := tests/sim/mutants tests/sim/test_snapshot_crashes.py tests/sim/test_leader_deaths.py \
	tests/unit/storage/test_crashes.py
IGNORE_DEEP := $(addprefix --ignore ,$(DEEP_SUITES))
QUICK_SUITES := tests/house tests/unit tests/golden tests/paper
SOURCES := src tests bench examples

.PHONY: help check fix quick test sim mutants interpreters soak chaos fuzz sessions bench profile demo lock clean

help: ## print this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1	\2/' | expand -t 18

# The name of the stamp holds a checksum of both files: the environment is kept while they are unchanged.
$(STAMP):
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or later found: set PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r $(LOCK)
	$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@rm -f $(VENV)/installed-*
	@touch $@

.venv: $(STAMP)
.PHONY: .venv

check: $(STAMP) ## lint, format and types, as CI wants them; never writes
	$(PY) -m ruff check $(SOURCES)
	$(PY) -m ruff format --check $(SOURCES)
	$(PY) -m mypy src tests

fix: $(STAMP) ## mend what ruff can mend, and format
	$(PY) -m ruff check --fix $(SOURCES)
	$(PY) -m ruff format $(SOURCES)

quick: check ## check and the fast suites, in less than a minute
	$(PY) -m pytest -q -n $(WORKERS) $(QUICK_SUITES)

PARTS := check pure-suites deep-suites stack-suite simulation coverage
test: $(STAMP) ## everything that CI runs; each part's time at the end
	@mkdir -p build && rm -f $(TIMES) && $(PY) -m coverage erase
	@status=0; for part in $(PARTS); do \
		echo "== $$part"; start=$$(date +%s); \
		$(SELF) --no-print-directory part-$$part || status=1; \
		printf '%6d s  %s\n' $$(( $$(date +%s) - start )) $$part >> $(TIMES); \
		test $$status = 0 || break; \
	done; echo "== times"; cat $(TIMES); exit $$status

.PHONY: $(addprefix part-,$(PARTS))
part-check: check
part-pure-suites:
	$(COVER) -n $(WORKERS) --dist worksteal --every-suite-runs $(PURE_SUITES) $(IGNORE_DEEP)
# Many runs each, which show what the net catches and not what it covers: without the cost of counting lines.
part-deep-suites:
	$(PY) -m pytest -q -n $(WORKERS) --dist worksteal --every-suite-runs $(DEEP_SUITES)
part-stack-suite:
	$(COVER) -n $(STACK_WORKERS) --dist worksteal --every-suite-runs tests/stack
part-simulation:
	$(PY) -m zraft sim --seeds $(SEEDS)
part-coverage:
	$(PY) -m coverage combine -q
	$(PY) -m coverage json -q -o build/coverage.json
	$(PY) -m coverage report > build/coverage.txt
	$(PY) -m tests.house.coverage_floor build/coverage.json

sim: $(STAMP) ## replay one seed (make sim SEED=7), or run many (SEEDS=1-300)
	$(PY) -m zraft sim $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

mutants: $(STAMP) ## put every known bug back: the simulator must find each (half an hour on two cores)
	$(PY) -m tests.sim.mutants.campaign $(ARGS)

interpreters: $(STAMP) ## the same seeds under every Python that is here: 3.11, 3.12, 3.13; ARGS="--seeds 1-100"
	$(PY) -m tests.sim.interpreters $(ARGS)

soak: $(STAMP) ## MINUTES of seeds that nobody has run, then every mutant and the deep suites; ARGS=--json
	$(PY) -m tests.sim.soak --minutes $(MINUTES) $(ARGS)

fuzz: $(STAMP) ## MINUTES of foreign data at every door: files, messages, commands, settings; ARGS=--json
	$(PY) -m tests.fuzz.campaign --minutes $(MINUTES) $(ARGS)

chaos: $(STAMP) ## MINUTES of real servers under real faults; ARGS=--seed N repeats one, --json (docs/chaos.md)
	$(PY) -m tests.stack.chaos --minutes $(MINUTES) $(ARGS)

sessions: $(STAMP) ## counters in sessions over 200 deaths of leaders in the simulation, and KILLS of real ones
	ZRAFT_SIM_KILLS=400 $(PY) -m pytest -q -s tests/sim/test_exactly_once.py
	ZRAFT_KILLS=$(KILLS) $(PY) -m pytest -q tests/stack/session/test_killed_leaders.py

bench: $(STAMP) ## measure against other systems in one run; ARGS= go to bench/run.py
	$(PY) bench/run.py $(ARGS)

profile: $(STAMP) ## where the time goes: the simulator under cProfile, written to build/profile
	@mkdir -p build
	$(PY) -m cProfile -o build/profile -m zraft sim --seeds $(PROFILE_SEEDS)
	$(PY) -c "import pstats; pstats.Stats('build/profile').sort_stats('tottime').print_stats(40)"

demo: $(STAMP) ## a cluster that loses its leader, to watch
	$(PY) -m zraft.app.demo

lock: ## make the lock anew from pyproject.toml; UPGRADE=--upgrade raises the pins
	@made=$$(mktemp -d) && trap 'rm -rf "$$made"' EXIT && $(PYTHON) -m venv "$$made" \
	&& "$$made/bin/python" -m pip install -q uv \
	&& "$$made/bin/uv" pip compile -q --universal --generate-hashes --python-version 3.11 --extra server \
		--group dev $(UPGRADE) --custom-compile-command "make lock" pyproject.toml -o $(LOCK)

clean: ## remove everything that was made, .venv too
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
