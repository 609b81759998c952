# Two commands: `make demo` shows the main job on real files, `make test` checks everything.
# Both set themselves up in .venv and, where they may, install the Debian packages that they need.

PYTHON ?= python3
# Tests that run side by side: most of them wait for a clock, not for a processor.
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE := 1

# The servers and tools of others that tests and figures run beside ours, from Debian: every test starts servers of its
# own, on free ports and in folders of its own, whatever Debian started when it installed them.
PACKAGES := wrk openssl redis-server postgresql etcd-server etcd-client strace iproute2 faketime \
	xrootd-server xrootd-server-plugins xrootd-plugins xrootd-client xrootd-client-plugins \
	gfal2 gfal2-util-scripts gfal2-plugin-http gfal2-plugin-xrootd gfal2-plugin-file

.PHONY: demo test lint audit soak loadtest figures packages clean help

help:
	@echo "make demo      the grid on this machine, on real files, in under three minutes"
	@echo "make test      lint, types and every test"
	@echo "make audit     known vulnerabilities of what is installed; needs the databases of PyPI or OSV"
	@echo "make soak      KILLS kills of writers and scans (10,000), FAULTS of a simulated network (1,000,000); SEED repeats"
	@echo "make loadtest  a locust scenario against real servers, headless"
	@echo "make packages  installs what tests and figures need of Debian, as root; else says what is missing"
	@echo "make figures   the benchmarks, each figure beside its bar and its peer; writes loadtests/results/"
	@echo "               QUICK=1 in about twelve minutes, ONLY='NAME …' some again, STORES=DIR keeps filled stores there"
	@echo "make clean     removes $(VENV) and caches"

demo: $(VENV)/.installed
	$(BIN)/reploc demo

# Real servers that share a busy machine can be late. What failed is shown, and then asked once more with nothing beside it:
# what fails again fails here, and what does not is a defect of the test or of the code that its output tells of.
test: $(VENV)/.tested packages lint
	$(BIN)/pytest -n $(JOBS) --dist worksteal || \
		{ echo "these failed; each is asked once more, alone"; $(BIN)/pytest --last-failed --last-failed-no-failures none; }

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml reploc lrc rli placement fileops $(wildcard consistency)

# Known vulnerabilities of what is installed. It asks the databases of PyPI and OSV, which not every machine can reach, so
# that it is no part of `make test`.
audit: $(VENV)/.tested
	$(BIN)/pip install --quiet --disable-pip-version-check 'pip-audit>=2.7'
	$(BIN)/pip-audit --skip-editable --strict

soak: $(VENV)/.tested
	PYTHONPATH=tests:tests/lrc $(BIN)/python tests/soak.py $(if $(KILLS),--kills $(KILLS)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(SEED),--seed $(SEED))

loadtest: $(VENV)/.load
	$(BIN)/python -m loadtests.scenario

figures: $(VENV)/.load packages
	$(BIN)/python -m loadtests.figures $(if $(QUICK),--quick) $(if $(STORES),--stores $(STORES)) $(if $(ONLY),--only $(ONLY))

# Lists of packages are fetched only where one is missing; where none may be installed, someone is told, and whatever
# needs one says so: tests by `needed`, programs in their results.
packages:
	@missing=""; for package in $(PACKAGES); do \
		dpkg-query --show --showformat='$${db:Status-Status}' "$$package" 2>/dev/null | grep -qx installed || \
			missing="$$missing $$package"; \
	done; \
	test -z "$$missing" || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		apt-get update --quiet --quiet && \
		DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends $$missing; } || \
		echo "missing of what tests and figures need; as root: apt-get install$$missing" >&2

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
