# uvnas.cluster: everything happens inside this checkout. `make help` says what there is.
#
# Needs make, git and Python 3.11 or newer; the rest is installed into .venv* (pinned and hashed in requirements/), and,
# for the tests and as root on Debian, from the distribution. PYTHON=… names a Python instead of looking for the newest.

VENV        := .venv
VENV_DEV    := .venv-dev
VENV_COMPAT := .venv-compat
MACHINES    := $(or $(UVNAS_MACHINES_DIR),build/machines)
RESULTS     := build/results
SOAK        := 20000
CUTS        := 20
KILLS       := 200
SEED        := $(shell date +%s)
export PATH := $(CURDIR)/$(VENV_DEV)/bin:$(PATH)

# ansible-core 2.21 wants Python 3.12 to 3.14. With nothing but 3.11, requirements/ have ansible-core 2.19 for it.
FIND_PYTHON = $(or $(PYTHON),$(shell tests/tools/find-python.sh 3.11 3.14))
# ansible-core 2.19, the oldest supported, takes 3.11 to 3.13.
FIND_OLDEST = $(shell tests/tools/find-python.sh 3.11 3.13 --oldest)

# $(call pytest,NAME) runs tests and keeps the counts as NAME. PYTEST_ARGS='-k word -x' picks some.
pytest = python -m pytest --junit-xml=$(RESULTS)/$(1).xml $(PYTEST_ARGS)
# Tests of a file share what is costly to make, so each file has one process.
PARALLEL := --numprocesses=auto --dist=loadfile

ANTSIBULL_DOCS = antsibull-docs --config-file docs/docsite/antsibull-docs.cfg

.DEFAULT_GOAL := help
.PHONY: help demo test lint lint-python lint-ansible lint-docs lint-shell test-unit soak test-sanity test-integration \
	test-compat test-molecule test-nfs test-nfs-short test-deps test-molecule-deps test-nfs-deps benchmark \
	benchmark-fleet docs schema requirements clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## Using it

demo: $(VENV)/.ready ## One share under ./.demo, from nothing to two environments, and what to type next
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" tests/tools/demo.sh

## Testing it

# In parallel where one leaves a processor idle: some checks have but one process, and clusters are waited for.
test: test-deps test-nfs-deps test-molecule-deps ## All of the tests, and what they need
	$(MAKE) --jobs=2 --output-sync=target lint docs test-sanity
	$(MAKE) test-unit test-integration test-compat
	$(MAKE) --jobs=2 --output-sync=line test-nfs-short test-molecule
	@python tests/tools/summary.py \
		$(addprefix $(RESULTS)/,unit.xml integration.xml compat-unit.xml compat-integration.xml nfs.xml) \
		$(RESULTS)/molecule-*.xml

lint: lint-python lint-ansible lint-docs lint-shell ## Style, types, docs and changelog

lint-python: $(VENV_DEV)/.ready
	ruff check .
	ruff format --check .
	mypy

lint-ansible: $(VENV_DEV)/.ready
	ansible-lint --nocolor

lint-docs: $(VENV_DEV)/.ready
	python tests/tools/schema.py
	antsibull-changelog lint
	$(ANTSIBULL_DOCS) lint-collection-docs --plugin-docs .

lint-shell:
	for script in .ci/run tests/tools/*.sh; do bash -n "$$script" || exit 1; done

test-unit: $(VENV_DEV)/.ready ## Fast tests of the code, without Ansible runs
	$(call pytest,unit) $(PARALLEL) tests/unit

# Each time with other input, and at other moments. What it finds becomes an example in its test.
soak: $(VENV_DEV)/.ready test-deps ## Hours of bad input (SOAK=20000 for each test), power cuts (CUTS=20) and kills (KILLS=200); SEED=…
	@echo "SEED=$(SEED)"
	UVNAS_SOAK=$(SOAK) python -m pytest $(PARALLEL) --hypothesis-seed=$(SEED) $(PYTEST_ARGS) tests/unit/generated
	UVNAS_SOAK_SEED=$(SEED) UVNAS_SOAK_CUTS=$(CUTS) UVNAS_SOAK_KILLS=$(KILLS) \
		python -m pytest --capture=no $(PYTEST_ARGS) tests/soak

test-sanity: $(VENV_DEV)/.ready ## ansible-test sanity, nothing ignored
	tests/tools/sanity.sh $(VENV_DEV)

test-integration: $(VENV_DEV)/.ready test-deps ## Roles and playbooks on real files
	$(call pytest,integration) $(PARALLEL) tests/integration

test-compat: $(VENV_COMPAT)/.ready test-deps ## Unit tests and some integration tests with the oldest ansible-core
	PATH="$(CURDIR)/$(VENV_COMPAT)/bin:$$PATH" $(call pytest,compat-unit) $(PARALLEL) tests/unit
	PATH="$(CURDIR)/$(VENV_COMPAT)/bin:$$PATH" $(call pytest,compat-integration) $(PARALLEL) -m compat tests/integration

test-molecule: $(VENV_DEV)/.ready test-molecule-deps ## A real cluster in containers, see molecule/README.md
	rm -f $(RESULTS)/molecule-*.xml
	molecule destroy
	MOLECULE_COMMAND_BORDERS=0 molecule test --all

test-nfs: $(VENV_DEV)/.ready test-nfs-deps ## On a real NFS server with two clients, in a kernel of its own: an hour
	python tests/nfs/machine/boot.py $(PYTEST_ARGS)

test-nfs-short: $(VENV_DEV)/.ready test-nfs-deps ## A part of test-nfs: five minutes
	python tests/nfs/machine/boot.py -m nfs_short $(PYTEST_ARGS)

test-deps: ## What the tests use of the operating system
	tests/tools/os-packages.sh

test-molecule-deps:
	tests/tools/os-packages.sh machines

test-nfs-deps:
	tests/tools/os-packages.sh nfs

benchmark: $(VENV_DEV)/.ready test-deps ## The benchmark: a table of medians and ratios
	python tests/benchmark/benchmark.py

benchmark-fleet: $(VENV_DEV)/.ready ## How a converge grows with hosts: 10, 100 and 500
	python tests/benchmark/fleet.py

## Working on it

docs: $(VENV_DEV)/.ready ## HTML documentation in build/docs/html
	rm -rf build/docs
	mkdir -p build/docs/rst
	$(ANTSIBULL_DOCS) collection --use-current --squash-hierarchy --fail-on-error --dest-dir build/docs/rst uvnas.cluster
	cp docs/docsite/index.rst build/docs/rst/
	sphinx-build --quiet --nitpicky --fail-on-warning --keep-going -c docs/docsite build/docs/rst build/docs/html

schema: $(VENV_DEV)/.ready ## Write what follows from meta/schema.yml: argument specs, doc fragments, the page of variables
	python tests/tools/schema.py --write

requirements: $(VENV_DEV)/.ready ## Pin the newest versions of what requirements/*.in name
	cd requirements && for name in run dev compat; do \
		uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --no-header --output-file $$name.txt $$name.in >/dev/null || exit 1; \
	done

clean: ## Remove what was built and installed here, the demo too
	[ ! -d $(MACHINES)/nas ] || python3 molecule/machines/cluster.py destroy
	[ ! -d .demo ] || chmod -R u+rwX .demo
	rm -rf build .demo .venv .venv-dev .venv-compat .ansible .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment holds what its requirements say: it is made anew when they change.
$(VENV)/.ready: requirements/run.txt
	@tests/tools/venv.sh "$(FIND_PYTHON)" $(VENV) $<

$(VENV_DEV)/.ready: requirements/dev.txt
	@tests/tools/venv.sh "$(FIND_PYTHON)" $(VENV_DEV) $<

$(VENV_COMPAT)/.ready: requirements/compat.txt
	@tests/tools/venv.sh "$(FIND_OLDEST)" $(VENV_COMPAT) $<
