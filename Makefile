# Everything a checkout can do. `make help` lists it.

.DEFAULT_GOAL := help
.PHONY: help setup format check test test-real test-ssh test-image test-dib test-zuul test-browser test-pythons demo bench soak docs clean

# The first of these that is Python 3.11 or newer; `make setup PYTHON=…` names another.
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
BIN := .venv/bin
# Supported besides the one of .venv.
PYTHONS := 3.12 3.13
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
READY := .venv/.ready
ARGS ?=

# Not wanted of flake8-async: 127 (httpx stays, behind one module), 900 (httpx's byte streams are
# async generators), 910 and 911 (a checkpoint on every early return), 124 (as 910, for protocols).
ASYNC := --select ASYNC --extend-ignore ASYNC124,ASYNC127,ASYNC900,ASYNC910,ASYNC911 \
	--startable-in-context-manager _keep
# It takes half a second for a file, so only files that changed are looked at again.
ASYNC_FILES = $(shell grep -rlwE 'async|trio' --include='*.py' --exclude-dir=realcloud \
	docs plugins tests trellis)
ASYNC_DONE := .venv/.async

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' \
	| while IFS='|' read -r name what; do printf '  make %-13s %s\n' "$$name" "$$what"; done

setup: $(READY) ## make .venv with all that is needed, and Trellis in it

$(READY): requirements/dev.txt pyproject.toml $(PLUGINS:%=%/pyproject.toml)
	@test -n "$(PYTHON)" || { echo "make setup: no python3 of 3.11 or newer found; \
	install one, or name it: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; echo "make setup: \
	$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; \
	exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-r requirements/dev.txt -e . $(PLUGINS:%=-e ./%)
	@$(BIN)/python -m compileall -q trellis
	@touch $@

format: $(READY) ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: $(READY) ## form, lint, async rules, types, import contracts, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@$(MAKE) --no-print-directory $(ASYNC_DONE)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/meta

$(ASYNC_DONE): $(ASYNC_FILES) Makefile requirements/dev.txt
	@echo "flake8-async, of $(words $(if $(filter-out %.py,$?),$(filter %.py,$^),$?)) files"
	@$(BIN)/flake8 $(ASYNC) $(if $(filter-out %.py,$?),$(filter %.py,$^),$?)
	@touch $@

test: $(READY) ## every test that needs no root and no server of its own; ARGS go to pytest
	$(BIN)/python -m pytest -q -n 3 --dist worksteal -m "not real and not ssh and not browser and not image and not dib and not zuul" $(ARGS)

test-real: $(READY) ## the tests on a real OpenStack, which is installed and started if need be
	tests/realcloud/up
	$(BIN)/python -m pytest -q -m real tests/real $(ARGS)

test-ssh: $(READY) ## logins over SSH to nodes in network namespaces; root, iproute2, OpenSSH
	$(BIN)/python -m pytest -q -m ssh tests/ssh $(ARGS)

test-image: $(READY) ## images built, uploaded and booted by qemu; root, and what it says is missing
	$(BIN)/python -m pytest -q -m image tests/image $(ARGS)

test-dib: $(READY) ## the same with a real diskimage-builder: ten minutes, and root
	@test -x .venv-dib/bin/python || $(BIN)/python -m venv .venv-dib
	.venv-dib/bin/python -m pip install --quiet --disable-pip-version-check \
		-r requirements/images.txt
	$(BIN)/python -m pytest -q -m dib tests/image $(ARGS)

test-zuul: $(READY) ## a real ZooKeeper, Zuul's own classes, a real Nodepool; wants Java and zookeeper
	@test -x .venv-zuul/bin/python || $(BIN)/python -m venv .venv-zuul
	.venv-zuul/bin/python -m pip install --quiet --disable-pip-version-check \
		--no-deps -r requirements/zuul.txt
	@test -x .venv-ansible/11/bin/python || $(BIN)/python -m venv .venv-ansible/11
	.venv-ansible/11/bin/python -m pip install --quiet --disable-pip-version-check \
		--no-deps -r requirements/zuul-ansible.txt
	@# An executor starts only if every version is there that it knows; no job here asks for 9.
	@ln -sfn 11 .venv-ansible/9
	@test -x .venv-nodepool/bin/python || $(BIN)/python -m venv .venv-nodepool
	.venv-nodepool/bin/python -m pip install --quiet --disable-pip-version-check \
		--no-deps -r requirements/nodepool.txt
	$(BIN)/python -m pytest -q -n 3 --dist loadfile -m zuul tests/zookeeper tests/zuul $(ARGS)

test-browser: $(READY) ## the status page in a real Chromium
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/browser.txt
	$(BIN)/python -m pytest -q -m browser tests/browser $(ARGS)

test-pythons: $(READY) ## one story told alike by every supported Python that is on this machine
	@for v in $(PYTHONS); do \
	  found=; \
	  for p in python$$v "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$v.*/bin/python; do \
	    if "$$p" -c '' 2>/dev/null; then found=$$p; break; fi; \
	  done; \
	  test -n "$$found" || { echo "no Python $$v here: it is not tested"; continue; }; \
	  test -x .venv-$$v/bin/python || "$$found" -m venv .venv-$$v || exit 1; \
	  .venv-$$v/bin/python -m pip install --quiet --disable-pip-version-check \
	    -c requirements/dev.txt -e . || exit 1; \
	done
	$(BIN)/python -m pytest -q tests/sim/test_simulate.py -k another_python $(ARGS)

demo: $(READY) ## the daemon between three simulated clouds, live; ARGS go to trellis demo
	@$(BIN)/trellis demo $(ARGS)

bench: $(READY) ## measure against the figures of the design; ARGS name workloads
	@$(BIN)/python -m tests.bench $(ARGS)

soak: $(READY) ## by force, for hours: kills, a steady load, 10,000 seeds; ARGS choose
ifeq ($(ARGS),)
	$(BIN)/python -m tests.soak kills --times 200
	$(BIN)/python -m tests.soak load --minutes 60
	$(BIN)/trellis simulate rough --seeds 10000
else
	$(BIN)/python -m tests.soak $(ARGS)
endif

docs: $(READY) ## write the generated pages of docs/reference anew
	$(BIN)/python -m docs.generate_configuration
	$(BIN)/python -m docs.generate_commands
	$(BIN)/python -m docs.generate_rest
	$(BIN)/python -m docs.generate_hooks
	$(BIN)/python -m docs.generate_faults
	$(BIN)/python -m docs.generate_scenario
	$(BIN)/python -m docs.generate_quirks
	$(BIN)/python -m docs.generate_testing

clean: ## remove .venv and caches; data of a daemon stays
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
