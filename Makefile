# Ralph Loop. `make` alone tells what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CACHE := $(CURDIR)/.cache
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
WHEEL := dist/ralph_loop-$(VERSION)-py3-none-any.whl
VSIX := dist/ralph-loop-$(VERSION).vsix
export PYRIGHT_PYTHON_CACHE_DIR := $(CACHE)/pyright
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test packages test-python test-editors test-agents retest retest-agents bench check package code setup lock clean

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | sort | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

# ------------------------------------------------------------------------------------------------------------ set-up
setup: $(VENV)/ready ## the Python environment, in .venv

$(VENV)/ready: requirements-dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed (set PYTHON=…)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11 (set PYTHON=…)"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "On Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

extension/node_modules/ready: extension/package-lock.json
	npm --prefix extension ci --no-fund --no-audit --ignore-scripts
	@touch $@

lock: setup ## write the requirements files again (newer versions)
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --upgrade --quiet --no-annotate --no-header -o requirements.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --upgrade --quiet --no-annotate --no-header -c requirements.txt -o requirements-dev.txt

# --------------------------------------------------------------------------------------------------------------- run
run: setup ## run a loop with the demo agent (REPO=… AGENT=… PROMPT=… for the real thing)
	@$(BIN)/ralph-loop demo --in "$(CURDIR)/.run" $(if $(REPO),--repo "$(REPO)") $(if $(AGENT),--agent "$(AGENT)") $(if $(PROMPT),--prompt "$(PROMPT)")

# -------------------------------------------------------------------------------------------------------------- test
test: packages check test-python test-editors ## every check and every test

packages: ## the system's packages that the tests need (Debian, as root)
	@.ci/packages

check: setup extension/node_modules/ready ## ruff, pyright, tsc, eslint
	$(BIN)/ruff check server tests
	$(BIN)/ruff format --check server tests
	$(BIN)/pyright
	npm --prefix extension run --silent check

# what passed as a whole leaves a mark, so that a second try runs what failed, and nothing else
PASSED := $(CACHE)/passed
PYTEST := $(BIN)/python -m pytest
# the files that take longest first, so that no worker is left alone with one of them
PYTHON_TESTS := -n 4 --dist loadfile --no-loadscope-reorder tests/server tests/unit

test-python: setup ## the helper and the terminal
	@mkdir -p $(PASSED) && rm -f $(PASSED)/python
	$(PYTEST) $(PYTHON_TESTS)
	@touch $(PASSED)/python

test-editors: packages setup $(VSIX) ## VS Code in a browser, Neovim, Emacs
	@mkdir -p $(PASSED) && rm -f $(PASSED)/editors
	npm --prefix tests/editors run --silent test
	@touch $(PASSED)/editors

test-agents: packages setup ## loops with the real agent CLIs against a model on loopback (2 GB in .cache)
	@mkdir -p $(PASSED) && rm -f $(PASSED)/agents
	$(BIN)/python tests/agents/install.py
	RALPH_TEST_AGENTS=1 $(PYTEST) -n 2 tests/agents
	@touch $(PASSED)/agents

retest: check
	@[ -e $(PASSED)/python ] || $(PYTEST) --last-failed $(PYTHON_TESTS)
	@[ -e $(PASSED)/editors ] || $(MAKE) --no-print-directory $(VSIX)
	@[ -e $(PASSED)/editors ] || node tests/editors/run.mjs --failed

retest-agents: setup
	@[ -e $(PASSED)/agents ] || $(BIN)/python tests/agents/install.py
	@[ -e $(PASSED)/agents ] || RALPH_TEST_AGENTS=1 $(PYTEST) --last-failed tests/agents

bench: setup ## benchmarks, told as ratios
	$(BIN)/python tests/bench/flood.py
	$(BIN)/python tests/bench/large_tree.py

# ----------------------------------------------------------------------------------------------------------- package
package: $(VSIX) ## the wheel and the VSIX, in dist/

PYTHON_SOURCES := $(shell find server -name '*.py' -o -name '*.sql' -o -name '*.md' | grep -v __pycache__)
EXTENSION_SOURCES := $(shell find extension -path extension/node_modules -prune -o -path extension/dist -prune -o -path extension/out -prune -o -path extension/helper -prune -o -type f -print)

$(WHEEL): $(VENV)/ready $(PYTHON_SOURCES) README.md
	$(BIN)/python -m hatchling build -t wheel -d dist

$(VSIX): $(WHEEL) extension/node_modules/ready $(EXTENSION_SOURCES) requirements.txt
	mkdir -p extension/helper && rm -f extension/helper/*.whl
	cp $(WHEEL) requirements.txt extension/helper/
	cp LICENSE CHANGELOG.md extension/
	cd extension && npx --no-install vsce package --no-dependencies --allow-missing-repository --no-rewrite-relative-links --out ../$(VSIX)

code: $(VSIX) ## try the extension: in VS Code, else in the browser-based one of the tests
	npm --prefix tests/editors run --silent code -- "$(CURDIR)/$(VSIX)"

clean: ## remove everything that make made
	rm -rf $(VENV) .cache .run dist screenshots extension/node_modules extension/dist extension/out extension/helper tests/editors/node_modules
	find server tests -name __pycache__ -prune -exec rm -rf {} +
