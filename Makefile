# make certify                                  certify the bundled model
# make certify MODEL=smollm2-135m TIER=quick    certify SmolLM2-135M-Instruct, fetched once
# make certify-quick, -smoke, -mvp, -full       the same with TIER set
# make test                                     everything that CI runs
# make test-hf                                  the engine hf on real models; make test does it too in CI

PYTHON ?= python3
VENV ?= .venv
MODEL ?= aprqa-tiny
TIER ?= mvp
WORKERS ?= 1
# Not locked: its builds differ by device. On a machine without a GPU set PIP_EXTRA_INDEX_URL to
# https://download.pytorch.org/whl/cpu, or gigabytes of CUDA come with it.
TORCH ?= torch==2.13.0

BIN := $(VENV)/bin
# A model's playbook for the tier if it has one, else its playbook for any tier.
PLAYBOOK = $(firstword $(wildcard playbooks/models/$(MODEL)-$(TIER).playbook.yaml playbooks/models/$(MODEL)-*.playbook.yaml))

.DEFAULT_GOAL := help
.PHONY: help certify certify-quick certify-smoke certify-mvp certify-full test test-hf lint lock schemas clean fetch-smollm2-135m

help:
	@sed -n 's/^# //p' $(MAKEFILE_LIST) | head -5

$(VENV)/.installed: pyproject.toml requirements/run.txt requirements/build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements/test.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	@touch $@

# Models that are not in this repository are fetched before they are certified.
fetch-smollm2-135m: $(VENV)/.installed
	$(BIN)/python scripts/fetch_smollm2.py

certify: $(VENV)/.installed $(if $(filter smollm2-135m,$(MODEL)),fetch-smollm2-135m)
	@test -n "$(PLAYBOOK)" || { echo "there is no playbooks/models/$(MODEL)-*.playbook.yaml" >&2; exit 2; }
	$(BIN)/aprqa certify $(PLAYBOOK) --tier $(TIER) --workers $(WORKERS)

certify-quick certify-smoke certify-mvp certify-full:
	@$(MAKE) --no-print-directory certify TIER=$(@:certify-%=%)

# What the action installs on a runner, for the tests that run its workflows without a network.
.cache/venvs/.installed: $(VENV)/.installed-test requirements/run.txt requirements/hub.txt requirements/github.txt scripts/action/bootstrap.py
	for command in plan run merge; do \
		APRQA_VENVS=.cache/venvs INPUT_COMMAND=$$command $(BIN)/python -I scripts/action/bootstrap.py --install-only || exit; \
	done
	@touch $@

# What a wheel is built and described with, for the test that runs release.yml without a network.
.cache/wheels/.fetched: $(VENV)/.installed-test requirements/build.txt requirements/sbom.txt
	for lock in build sbom; do \
		$(BIN)/python -m pip download --quiet --disable-pip-version-check --require-hashes -r requirements/$$lock.txt -d $(@D) || exit; \
	done
	@touch $@

# GitHub's own parser of workflows is for Node alone. Without npm its test is skipped, but not in CI.
.cache/workflow-lint/.installed: tests/act/lint/package-lock.json
	@mkdir -p $(@D)
	@if command -v npm >/dev/null; then \
		cp tests/act/lint/package.json tests/act/lint/package-lock.json $(@D) && npm ci --prefix $(@D) --no-audit --no-fund --silent && touch $@; \
	elif [ -n "$$CI" ]; then echo "npm is needed in CI" >&2; exit 1; \
	else echo "npm is not here: the test with GitHub's workflow parser is skipped"; fi

# The engine hf needs torch, which is large: its tests have an environment of their own.
.cache/hf/.installed: pyproject.toml requirements/hf.txt requirements/build.txt
	$(PYTHON) -m venv .cache/hf
	.cache/hf/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/hf.txt
	.cache/hf/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	.cache/hf/bin/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	.cache/hf/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

test-hf: .cache/hf/.installed
	.cache/hf/bin/python -m pytest tests/integration/execution/engines/test_hf_model.py

test: $(VENV)/.installed-test .cache/venvs/.installed .cache/wheels/.fetched .cache/workflow-lint/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python scripts/generate_schemas.py --check
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered --cov-fail-under=90
	@if [ -n "$$CI" ]; then $(MAKE) --no-print-directory test-hf; fi

lint: $(VENV)/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy

schemas: $(VENV)/.installed
	$(BIN)/python scripts/generate_schemas.py

# Needs uv (https://docs.astral.sh/uv/).
lock:
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -o requirements/run.txt
	sed -i "1i # Locked: every dependency with the digests of its files. Made by make lock." requirements/run.txt
	uv pip compile pyproject.toml --extra hub --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -o requirements/hub.txt
	sed -i "1i # Locked: the same, and what fetching models needs. Made by make lock." requirements/hub.txt
	uv pip compile pyproject.toml --extra github --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -o requirements/github.txt
	sed -i "1i # Locked: the same, and what publishing to GitHub needs. Made by make lock." requirements/github.txt
	uv pip compile pyproject.toml --extra attest --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -o requirements/attest.txt
	sed -i "1i # Locked: the same, and what verifying attestations needs. Made by make lock." requirements/attest.txt
	uv pip compile pyproject.toml --extra test --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -o requirements/test.txt
	sed -i "1i # Locked: the same, and what the tests need. Made by make lock." requirements/test.txt
	printf 'transformers>=5.0\nhypothesis>=6.100\npytest>=8.2\n' | uv pip compile pyproject.toml - -c requirements/test.txt --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -o requirements/hf.txt
	sed -i "1i # Locked: what the tests of the engine hf need, but for torch. Made by make lock." requirements/hf.txt
	echo "setuptools>=77" | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -o requirements/build.txt
	sed -i "1i # Locked: what a wheel is built with. Made by make lock." requirements/build.txt
	echo "cyclonedx-bom>=7" | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -o requirements/sbom.txt
	sed -i "1i # Locked: what an SBOM is made with. Made by make lock." requirements/sbom.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
