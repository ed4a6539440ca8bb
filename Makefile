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
# Else each of the processes that tests start compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo docs reference pictures test test-all accuracy cost bench bench-small scale memory e2e e2e-iam size local release check lint format types imports template scan build lock clean audit fuzz fuzz-merge soak

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.done ## build .venv with the flowverdict command

demo: .venv/.done ## run the main job on sample events, no AWS account needed
	@$(BIN)/flowverdict demo

# Built into .site. `--strict`: a link that leads nowhere fails.
docs: .venv/.done .venv-docs/.done ## build the documentation's site into .site, after comparing generated pages
	@$(BIN)/python -m scripts.reference_pages --check
	$(BIN)/python -m scripts.pictures.draw --check
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet --site-dir .site
	echo "site built in .site: .venv-docs/bin/mkdocs serve shows it"

pictures: .venv/.done ## draw docs/images anew: from the template, the state machine, the command, the golden files (needs Chromium)
	$(BIN)/python -m scripts.pictures.draw
	$(BIN)/python -m scripts.pictures.screens

reference: .venv/.done ## write the generated pages of docs/reference and the messages in docs/runbooks anew
	$(BIN)/python -m scripts.reference_pages

# Less than five minutes of CPU time: what is marked slow is left to test-all, and laws get few examples.
test: .venv/.done .venv-sam/.done ## run the fast tests, in parallel
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not e2e"

# Whole files to each worker: the slow ones build a world for all their tests.
test-all: .venv/.done .venv-sam/.done ## run all tests but the end-to-end ones (HYPOTHESIS_PROFILE=ci, SIMULATOR_SEEDS=1)
	HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-ci} \
	$(BIN)/python -m pytest -n auto --dist loadfile --durations=30 -m "not e2e"

accuracy: .venv/.done ## verdicts and fixes against simulated VPCs, with figures (SIMULATOR_SEEDS=40)
	SIMULATOR_SEEDS=$${SIMULATOR_SEEDS:-40} $(BIN)/python -m pytest -s tests/laws/test_against_simulator.py

cost: .venv/.done ## what months of records cost on AWS, measured here (FACTOR=1)
	$(BIN)/python -m scripts.cost_table --factor $${FACTOR:-1}

fuzz: .venv-fuzz/.done ## hostile inputs against every decoder, guided by coverage (FUZZ_SECONDS=60 for each, FUZZ_TARGETS=)
	@PYTHONPATH=layers/shared:cli .venv-fuzz/bin/python -m tests.fuzz --seconds $${FUZZ_SECONDS:-60} $${FUZZ_TARGETS:-}

fuzz-merge: .venv-fuzz/.done ## add to the seeds what fuzzing has found that reaches further (then commit them)
	@PYTHONPATH=layers/shared:cli .venv-fuzz/bin/python -m tests.fuzz --merge $${FUZZ_TARGETS:-}

# What the deployed stack needs to run on this machine, without an account and without Docker.
LOCAL_STACK := .venv/.done .venv-sam/.done .venv-emulator/.done .venv-runtime/.done

e2e: $(LOCAL_STACK) ## sam build and deploy to an emulator on 127.0.0.1, and try the whole way
	$(BIN)/python -m pytest -m e2e --allow-hosts=127.0.0.1 -o tmp_path_retention_policy=failed -o tmp_path_retention_count=1 --durations=5 tests/e2e

soak: $(LOCAL_STACK) ## minutes of load on that stack while its workers are killed; every record accounted for (SOAK_MINUTES=3 SOAK_FILES=171)
	$(BIN)/python -m tests.e2e.soak

e2e-iam: $(LOCAL_STACK) ## what IAM refuses without each statement, into docs/permissions.md
	$(BIN)/python -m tests.e2e.permissions docs/permissions.md

bench: .venv-bench/.done ## how fast big files are read, beside gunzip and others (BENCH_FILES="default-1m ...")
	@.venv-bench/bin/python -m benchmarks $${BENCH_FILES:-}

bench-small: .venv-bench/.done ## the same on 200,000 records, failing where the ratios are far off
	@.venv-bench/bin/python -m benchmarks --check --designs flowlogs-reader duckdb flowverdict parquet -- default-200k custom-200k

scale: .venv/.done ## how the work for a file grows with the files of an account's Region (FILES="10 100 1000 5000", SCALE="--records 1000 --rejected 0.3")
	@$(BIN)/python -m benchmarks.scale $${FILES:-} $${SCALE:-}

memory: .venv/.done ## how the memory of explain grows with its files, up to 60
	@$(BIN)/python -m benchmarks.memory

size: $(LOCAL_STACK) ## size, cold start and imports of each built function, against a budget
	$(BIN)/python -m scripts.measure_functions

local: $(LOCAL_STACK) ## the deployed stack on 127.0.0.1, left running to try things on
	@$(BIN)/python -m tests.e2e.local

check: lint types imports template scan test ## the part of the gate (.ci/run) that takes minutes: before each commit

lint: .venv/.done ## ruff, style and format; length of modules, complexity of functions
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python scripts/check_size.py

format: .venv/.done ## let ruff rewrite what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: .venv/.done ## mypy, strict
	$(BIN)/mypy

imports: .venv/.done ## import contracts: data flows one way, pure modules stay pure
	$(BIN)/lint-imports

template: .venv-sam/.done ## sam validate --lint (cfn-lint), both templates
	export PATH="$(CURDIR)/.venv-sam/bin:$$PATH"
	sam validate --lint --region us-east-1
	sam validate --lint --region us-east-1 --template templates/reader-role.yaml

scan: .venv-scan/.done ## security scan of the templates (checkov, offline); the Terraform module
	.venv-scan/bin/checkov --config-file .checkov.yaml
	.venv-scan/bin/python scripts/check_terraform.py

# Asks a service on the internet. Where that cannot be reached it says so and passes, unless AUDIT_REQUIRED=1.
audit: .venv-audit/.done ## known vulnerabilities of every pin (AUDIT_REQUIRED=1, AUDIT_SERVICE=osv)
	@.venv-audit/bin/python scripts/audit.py layers/*/requirements.txt requirements/*.txt

build: .venv-sam/.done ## sam build and bytecode, into .aws-sam/build (ARCHITECTURE=arm64)
	mkdir -p .aws-sam
	.venv-sam/bin/python scripts/choose_processor.py "$${ARCHITECTURE:-arm64}" template.yaml >.aws-sam/source.yaml
	PATH="$(CURDIR)/.venv-sam/bin:$$PATH" sam build --region us-east-1 --template-file .aws-sam/source.yaml --base-dir .
	.venv-sam/bin/python scripts/compile_build.py .aws-sam/build

release: .venv/.done .venv-sam/.done ## the files of a release into dist/, and its notes into .release/ (TAG=v0.2.0)
	rm -rf dist .release
	mkdir -p dist .release
	$(BIN)/python -m scripts.make_release notes "$${TAG:?such as v0.2.0}" >.release/notes.md
	$(BIN)/python -m hatchling build -d dist
	for processor in arm64 x86_64; do
		$(MAKE) build ARCHITECTURE="$$processor"
		$(BIN)/python -m scripts.make_release archive "$$processor"
	done
	$(BIN)/python -m scripts.make_release components
	$(BIN)/python -m scripts.make_release checksums
	echo "made in dist/, with the notes in .release/notes.md:"
	cat dist/SHA256SUMS

lock: $(UV) ## compile the pins from pyproject.toml (then commit them)
	@export UV_CUSTOM_COMPILE_COMMAND="make lock"
	compile="$(UV) pip compile --quiet --universal --python-version $(PYTHON_VERSION) --generate-hashes --no-emit-index-url"
	$$compile --group pyproject.toml:functions --output-file layers/dependencies/requirements.txt
	$$compile --group pyproject.toml:engine --output-file layers/engine/requirements.txt
	$$compile pyproject.toml --extra all --group dev --output-file requirements/dev.txt
	$$compile --group pyproject.toml:sam --output-file requirements/sam.txt
	$$compile --group pyproject.toml:scan --output-file requirements/scan.txt
	$$compile --group pyproject.toml:audit --output-file requirements/audit.txt
	$$compile --group pyproject.toml:emulator --output-file requirements/emulator.txt
	$$compile --group pyproject.toml:runtime --output-file requirements/runtime.txt
	$$compile --group pyproject.toml:bench --output-file requirements/bench.txt
	$$compile --group pyproject.toml:fuzz --output-file requirements/fuzz.txt
	$$compile --group pyproject.toml:docs --output-file requirements/docs.txt
	$$compile --group pyproject.toml:uv --output-file requirements/uv.txt

clean: ## remove everything that make built
	rm -rf .venv .venv-sam .venv-scan .venv-emulator .venv-runtime .venv-bench .bench .uv .aws-sam .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .venv-audit .venv-fuzz .fuzz .venv-docs .site .release

# uv comes into the project's own folder where the machine has none.
.uv/bin/uv: requirements/uv.txt
	@python3 -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/uv.txt
	touch $@

.venv/.done: pyproject.toml requirements/dev.txt .python-version | $(UV)
	@echo "setting up $(@D), once" >&2
	$(UV) venv --quiet --clear --python $(PYTHON_VERSION) .venv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# The SAM CLI pins boto3 and others exactly, so it lives by itself. `sam build` calls the pip of the Python it finds first.
.venv-sam/.done: requirements/sam.txt .python-version | $(UV)
	@echo "setting up $(@D), once" >&2
	$(UV) venv --quiet --clear --python $(PYTHON_VERSION) .venv-sam
	$(UV) pip sync --quiet --python .venv-sam/bin/python --require-hashes requirements/sam.txt
	touch $@

# Checkov pins boto3 and others as well.
.venv-scan/.done: requirements/scan.txt .python-version | $(UV)
	@echo "setting up $(@D), once" >&2
	$(UV) venv --quiet --clear --python $(PYTHON_VERSION) .venv-scan
	$(UV) pip sync --quiet --python .venv-scan/bin/python --require-hashes requirements/scan.txt
	touch $@

.venv-audit/.done: requirements/audit.txt .python-version | $(UV)
	@echo "setting up $(@D), once" >&2
	$(UV) venv --quiet --clear --python $(PYTHON_VERSION) .venv-audit
	$(UV) pip sync --quiet --python .venv-audit/bin/python --require-hashes requirements/audit.txt
	touch $@

# Not beside the functions' packages: the emulator's workers see its site-packages, which would hide a missing dependency.
.venv-emulator/.done: requirements/emulator.txt .python-version | $(UV)
	@echo "setting up $(@D), once" >&2
	$(UV) venv --quiet --clear --python $(PYTHON_VERSION) .venv-emulator
	$(UV) pip sync --quiet --python .venv-emulator/bin/python --require-hashes requirements/emulator.txt
	touch $@

# Beside what is measured only what it is measured against: no tools of ours in the way.
.venv-bench/.done: pyproject.toml requirements/bench.txt .python-version | $(UV)
	@echo "setting up $(@D), once" >&2
	$(UV) venv --quiet --clear --python $(PYTHON_VERSION) .venv-bench
	$(UV) pip sync --quiet --compile-bytecode --python .venv-bench/bin/python --require-hashes requirements/bench.txt
	$(UV) pip install --quiet --python .venv-bench/bin/python --no-deps --no-build-isolation --editable .
	touch $@

# What the layers have, and the fuzzer.
.venv-fuzz/.done: requirements/fuzz.txt .python-version | $(UV)
	@echo "setting up $(@D), once" >&2
	$(UV) venv --quiet --clear --python $(PYTHON_VERSION) .venv-fuzz
	$(UV) pip sync --quiet --python .venv-fuzz/bin/python --require-hashes requirements/fuzz.txt
	touch $@

.venv-docs/.done: requirements/docs.txt .python-version | $(UV)
	@echo "setting up $(@D), once" >&2
	$(UV) venv --quiet --clear --python $(PYTHON_VERSION) .venv-docs
	$(UV) pip sync --quiet --python .venv-docs/bin/python --require-hashes requirements/docs.txt
	touch $@

# Lambda's own runtime client and SDK, nothing else.
.venv-runtime/.done: requirements/runtime.txt .python-version | $(UV)
	@echo "setting up $(@D), once" >&2
	$(UV) venv --quiet --clear --python $(PYTHON_VERSION) .venv-runtime
	$(UV) pip sync --quiet --python .venv-runtime/bin/python --require-hashes requirements/runtime.txt
	touch $@
