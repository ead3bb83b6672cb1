# Everything runs in .venv, which is made from requirements.lock on first use.
# Only `.venv/bin/python -m …` is called, never an installed script: scripts hold an absolute path, which
# breaks in a folder whose name has a space.

PYTHON ?= python3
PORT ?= 8000
python := .venv/bin/python
ready := .venv/.ready

# One evidence store for the whole build: each claim is computed once, however many pages show it.
export HOPMIX_EVIDENCE := $(CURDIR)/_build/evidence
# Many small matrices: threads inside an operation only get in the way of the processes beside it.
book test pdf: export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help env book test lab pdf bench serve picture lock clean distclean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

env: $(ready)  ## make .venv and install the lock file and the package into it

$(ready): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("hopmix needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name another one with make PYTHON=…")'
	$(PYTHON) -m venv .venv
	$(python) -m pip install --quiet --requirement requirements.lock
	$(python) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

book: $(ready)  ## run every page and build the site, warnings are errors
	$(python) book/_ext/build.py html

test: $(ready)  ## all tests; the browser tests build the site if they must
	$(python) -m pytest -n 2

lab: $(ready)  ## JupyterLab with the chapters and the labs
	$(python) -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root)

pdf: $(ready)  ## the whole book as one PDF, printed by Chromium
	$(python) book/_ext/build.py pdf

serve: $(ready)  ## show the built site on this machine only (PORT=8000)
	@test -f _build/html/index.html || { echo "There is no site yet: run make book first." >&2; exit 1; }
	@$(python) -c 'import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", int(sys.argv[1])))' "$(PORT)" 2>/dev/null || \
	  { echo "Port $(PORT) is taken, or none that can be used: name another one with make serve PORT=…" >&2; exit 1; }
	@echo "The book is at http://127.0.0.1:$(PORT)/ (Ctrl-C stops)"
	@$(python) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

bench: $(ready)  ## speed and memory, never part of the tests
	@set -e; found=; for script in benchmarks/*.py; do \
	  if [ -f "$$script" ]; then found=yes; echo "$$script"; $(python) "$$script"; fi; done; \
	if [ -z "$$found" ]; then echo "There are no benchmarks yet: they will lie in benchmarks/."; fi

picture: $(ready)  ## draw the picture of the README and the first page again
	$(python) -c 'from hopmix.memory.hopfield_mixer.figures import correspondence; correspondence().savefig("book/_assets/correspondence.svg", metadata={"Date": None})'

lock:  ## resolve the dependencies anew into requirements.lock
	$(PYTHON) -m venv _build/lock
	_build/lock/bin/python -m pip install --quiet pip-tools
	_build/lock/bin/python -m piptools compile --quiet --upgrade --strip-extras --allow-unsafe --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  --extra book --extra test --extra lab --constraint constraints.txt \
	  --output-file _build/requirements.txt pyproject.toml
	@{ echo "# The environment of the book and the tests: make lock writes it, make book and make test install it."; \
	   sed -e '/^hopmix/d' -e '/^#/d' -e '/^pip==/d' -e '/^$$/d' -e 's/+cpu$$//' _build/requirements.txt; } > requirements.lock
	@echo "requirements.lock is new: run make test before you commit it."

clean:  ## remove everything built, keep the environment
	rm -rf _build dist results/.partial .pytest_cache .hypothesis .import_linter_cache

distclean: clean  ## remove the environment too
	rm -rf .venv
