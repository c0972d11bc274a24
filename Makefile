# make demo | test | check  — each makes .venv when it is missing or its lock changed, and runs.
# TORCH_INDEX: package index for torch's CPU wheel where pip's own does not have it, for example
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
# KUBECONFIG: a cluster for the Kubernetes contract tests (skipped, with a reason, where there is none).

PYTHON ?= python3.11
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
TORCH_FLAGS := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),)
PIP := $(BIN)/pip install -qq --disable-pip-version-check --no-deps

.PHONY: demo test test-slow test-cluster check format lock debian clean

demo: $(VENV)/.serving
	@$(BIN)/edgewise demo $(ARGS)

# Everything that fits in ten minutes. Browser, Prometheus and cluster tests run where their programs are.
test: $(VENV)/.dev debian
	@bash scripts/with-cluster.sh bash scripts/test.sh $(BIN)/pytest $(ARGS)

test-slow: $(VENV)/.dev debian
	@bash scripts/with-cluster.sh $(BIN)/pytest -m slow $(ARGS)

test-cluster: $(VENV)/.dev debian
	@bash scripts/with-cluster.sh $(BIN)/pytest tests/contract $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/schemas.py --check

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# New exact versions from pyproject.toml; needs uv on the path. See CONTRIBUTING.md.
lock:
	bash scripts/lock.sh

debian:
	@bash scripts/debian.sh

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis runs

$(VENV)/.core: requirements/core.lock pyproject.toml
	@echo "edgewise: installing into $(VENV) (minutes, the first time)" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements/core.lock
	@$(PIP) --no-build-isolation -e .
	@touch $@

$(VENV)/.serving: $(VENV)/.core requirements/torch.txt requirements/serving.lock
	@$(PIP) --require-hashes -r requirements/serving.lock
	@$(BIN)/pip install -qq --disable-pip-version-check $(TORCH_FLAGS) -r requirements/torch.txt
	@$(BIN)/python -m edgewise.policy.precompile
	@touch $@

$(VENV)/.dev: $(VENV)/.serving requirements/dev.lock
	@$(PIP) --require-hashes -r requirements/dev.lock
	@touch $@
