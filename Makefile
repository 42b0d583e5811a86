# The commands of this project; `make help` lists them.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
BROWSER := notifications/browser

.DEFAULT_GOAL := help
.PHONY: help run demo test test-fast test-long check format build packages lock bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

run: .venv/installed ## Serve on SQLite with a demo user; prints the URL, the log-in and a curl line
	@DEBUG=1 .venv/bin/python manage.py migrate --verbosity 0
	@DEBUG=1 .venv/bin/python manage.py prepare_demo --url http://$(HOST):$(PORT)
	@DEBUG=1 .venv/bin/python manage.py serve --host $(HOST) --port $(PORT)

demo: .venv/installed ## Publish a trickle of believable messages to the demo user
	@DEBUG=1 .venv/bin/python manage.py demo

test: .venv/installed-dev $(BROWSER)/node_modules/installed ## Run all tests, on every backend that answers
	@.venv/bin/python -m tests

test-fast: .venv/installed-dev ## Run what needs no server process and no browser (under a minute)
	@.venv/bin/python -m tests --fast

test-long: .venv/installed-dev $(BROWSER)/node_modules/installed ## Run all tests, the long forms too
	@.venv/bin/python -m tests --long

check: .venv/installed-dev $(BROWSER)/node_modules/installed ## Run linters, types, floors, migrations, schema, the npm package and the bundle's rebuild
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	DEBUG=1 .venv/bin/python manage.py check --fail-level WARNING
	SECRET_KEY=$$(head -c 48 /dev/urandom | base64) ALLOWED_HOSTS=example.org .venv/bin/python manage.py check --deploy --fail-level WARNING
	DEBUG=1 .venv/bin/python manage.py makemigrations --check --dry-run
	DEBUG=1 .venv/bin/python manage.py spectacular --validate --fail-on-warn --file /dev/null
	npm --prefix $(BROWSER) run --silent check
	npm --prefix $(BROWSER) run --silent check:package
	npm --prefix $(BROWSER) run --silent build
	git diff --exit-code --stat -- notifications/static

format: .venv/installed-dev ## Format the Python code
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

build: $(BROWSER)/node_modules/installed ## Build the browser bundle into notifications/static
	npm --prefix $(BROWSER) run build

packages: .venv/bin/python $(BROWSER)/node_modules/installed ## Make the npm package and the wheel of the clients, in dist/
	@mkdir -p dist && rm -rf bellwether_client/build
	npm pack --loglevel=error --pack-destination dist ./$(BROWSER)
	.venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist ./bellwether_client
	@rm -rf bellwether_client/build

bench: .venv/installed-dev ## Measure against Channels, DRF and peers (15 min); renders docs/performance.md
	-.venv/bin/python -m bench.peers
	.venv/bin/python -m bench.suite

lock: .venv/installed-dev ## Pin the dependencies of pyproject.toml, with hashes
	.venv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header -q -o requirements.txt
	.venv/bin/uv pip compile pyproject.toml --extra dev -c requirements.txt --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header -q -o requirements-dev.txt

clean: ## Remove what can be made again (not the database)
	rm -rf .venv dist $(BROWSER)/node_modules $(BROWSER)/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Bellwether needs Python 3.11 or newer; say which with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt | .venv/bin/python
	@echo "Installing into .venv (once; it takes a moment) ..."
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt | .venv/bin/python
	@echo "Installing into .venv what tests and linters need (once; it takes a moment) ..."
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@ .venv/installed

$(BROWSER)/node_modules/installed: $(BROWSER)/package-lock.json
	npm --prefix $(BROWSER) ci --no-audit --no-fund --loglevel=error
	@touch $@
