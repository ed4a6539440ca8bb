# Every target sets up what it needs: `make demo` and `make test` work from a fresh clone with git, make and python3.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

UV := $(shell command -v uv || echo .uv/bin/uv)
BIN := .venv/bin
PYTHON_VERSION := $(shell cat .python-version)

export SAM_CLI_TELEMETRY := 0
# No account and no Region of the caller's reach the tests or the demo.
export AWS_EC2_METADATA_DISABLED := true

.PHONY: help setup demo test accuracy cost check lint format types imports template build lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.done ## build .venv with the flowverdict command

demo: .venv/.done ## run the main job on sample events, no AWS account needed
	@$(BIN)/flowverdict demo

test: .venv/.done ## run all tests
	$(BIN)/python -m pytest

accuracy: .venv/.done ## verdicts and fixes against simulated VPCs, with figures (SIMULATOR_SEEDS=40)
	SIMULATOR_SEEDS=$${SIMULATOR_SEEDS:-40} $(BIN)/python -m pytest -s tests/property/test_against_simulator.py

cost: .venv/.done ## what months of records cost on AWS, measured here (FACTOR=1)
	$(BIN)/python scripts/cost_table.py --factor $${FACTOR:-1}

check: lint types imports template test ## what CI runs

lint: .venv/.done ## ruff, style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: .venv/.done ## let ruff rewrite what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: .venv/.done ## mypy, strict
	$(BIN)/mypy

imports: .venv/.done ## import contracts: data flows one way, pure modules stay pure
	$(BIN)/lint-imports

template: .venv-sam/.done ## sam validate --lint
	PATH="$(CURDIR)/.venv-sam/bin:$$PATH" sam validate --lint --region us-east-1

build: .venv-sam/.done ## sam build, into .aws-sam/build
	PATH="$(CURDIR)/.venv-sam/bin:$$PATH" sam build --region us-east-1

lock: $(UV) ## compile the pins from pyproject.toml (then commit them)
	@export UV_CUSTOM_COMPILE_COMMAND="make lock"
	compile="$(UV) pip compile --quiet --universal --python-version $(PYTHON_VERSION) --generate-hashes --no-emit-index-url"
	$$compile pyproject.toml --output-file layers/dependencies/requirements.txt
	$$compile pyproject.toml --extra cli --group dev --output-file requirements/dev.txt
	$$compile --group pyproject.toml:sam --output-file requirements/sam.txt
	$$compile --group pyproject.toml:uv --output-file requirements/uv.txt

clean: ## remove everything that make built
	rm -rf .venv .venv-sam .uv .aws-sam .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# uv comes into the project's own folder where the machine has none.
.uv/bin/uv: requirements/uv.txt
	@python3 -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/uv.txt
	touch $@

.venv/.done: pyproject.toml requirements/dev.txt .python-version | $(UV)
	@$(UV) venv --quiet --clear --python $(PYTHON_VERSION) .venv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# The SAM CLI pins boto3 and others exactly, so it lives by itself. `sam build` calls the pip of the Python it finds first.
.venv-sam/.done: requirements/sam.txt .python-version | $(UV)
	@$(UV) venv --quiet --clear --python $(PYTHON_VERSION) .venv-sam
	$(UV) pip sync --quiet --python .venv-sam/bin/python --require-hashes requirements/sam.txt
	touch $@
