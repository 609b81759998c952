# Two commands: `make demo` shows the main job on real files, `make test` checks everything.
# Both set themselves up in .venv and, where they may, install the Debian packages that they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: demo test lint soak loadtest figures peers clean help

help:
	@echo "make demo      the grid on this machine, on real files, in under three minutes"
	@echo "make test      lint, types and every test"
	@echo "make soak      kills writers and scans KILLS times (10,000), and checks what they leave; SEED repeats a run"
	@echo "make loadtest  a locust scenario against real servers, headless"
	@echo "make figures   the benchmarks, each figure beside its bar and its peer; writes loadtests/results/"
	@echo "               QUICK=1 in four minutes, ONLY='NAME …' some again, STORES=DIR keeps filled stores there"
	@echo "make clean     removes $(VENV) and caches"

demo: $(VENV)/.installed
	$(BIN)/reploc demo

test: $(VENV)/.tested lint
	$(BIN)/pytest

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

soak: $(VENV)/.tested
	$(BIN)/python tests/lrc/soak.py $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

loadtest: $(VENV)/.load
	$(BIN)/python -m loadtests.scenario

figures: $(VENV)/.load peers
	$(BIN)/python -m loadtests.figures $(if $(QUICK),--quick) $(if $(STORES),--stores $(STORES)) $(if $(ONLY),--only $(ONLY))

# What `figures` is measured with and beside, from Debian; where it may not be installed, someone is told, and the
# programs that need it say so in the results.
peers:
	@{ command -v wrk && command -v redis-server && ls /usr/lib/postgresql/*/bin/postgres; } >/dev/null 2>&1 || \
		apt-get install --yes --quiet --no-install-recommends wrk redis-server postgresql || \
		echo "as root: apt-get install wrk redis-server postgresql" >&2

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("reploc needs Python 3.11 or newer; say make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[zstd]'
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

$(VENV)/.load: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[load]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
