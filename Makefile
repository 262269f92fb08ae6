# uvnas.cluster: everything happens inside this checkout. `make help` says what there is.
#
# Needs make, git and Python 3.11 or newer; the rest is installed into .venv* (pinned and hashed in requirements/), and,
# for the tests and as root on Debian, from the distribution. PYTHON=… names a Python instead of looking for the newest.

VENV        := .venv
VENV_DEV    := .venv-dev
VENV_COMPAT := .venv-compat
VENV_NEWEST := .venv-newest
VENV_GALAXY := .venv-galaxy
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
# ansible-core 2.22, the newest, takes 3.13 to 3.15.
FIND_NEWEST = $(shell tests/tools/find-python.sh 3.13 3.15)

# $(call pytest,NAME) runs tests and keeps the counts as NAME. PYTEST_ARGS='-k word -x' picks some.
pytest = python -m pytest --junit-xml=$(RESULTS)/$(1).xml $(PYTEST_ARGS)
# Tests of a file share what is costly to make, so each file has one process.
PARALLEL := --numprocesses=auto --dist=loadfile
# What `make quick` leaves out: unit tests that run uv, pip or interpreters, or try hundreds of inputs.
UTILS := tests/unit/plugins/module_utils
SLOW  := tests/unit/generated tests/unit/plugins/modules tests/unit/plugins/plugin_utils/test_download.py \
	tests/unit/plugins/plugin_utils/test_projects.py $(UTILS)/env/lock/test_builds.py $(UTILS)/env/lock/test_held.py \
	$(UTILS)/python/test_pack.py $(UTILS)/uv/test_cache.py
# What knows Ansible, and so may break with another ansible-core.
NEAR_ANSIBLE := tests/unit/test_argument_specs.py $(addprefix tests/unit/plugins/,action filter plugin_utils) \
	$(addprefix tests/unit/plugins/modules/test_,$(addsuffix .py,hidden uv_env_info uv_lock uv_profile uv_share))

ANTSIBULL_DOCS = antsibull-docs --config-file docs/docsite/antsibull-docs.cfg

.DEFAULT_GOAL := help
.PHONY: help demo quick test lint lint-python lint-ansible lint-docs lint-shell test-unit soak test-sanity test-integration \
	test-compat test-newest run-newest test-galaxy coverage test-molecule test-nfs test-nfs-short test-deps test-molecule-deps test-nfs-deps benchmark \
	benchmark-fleet docs schema requirements release clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## Using it

demo: $(VENV)/.ready ## One share under ./.demo, from nothing to two environments, and what to type next
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" tests/tools/demo.sh

## Testing it

quick: $(VENV_DEV)/.ready ## The loop while you work, a minute: style, types and the fast unit tests
	$(MAKE) --no-print-directory lint-python
	python tests/tools/schema.py
	python -m pytest --quiet $(PARALLEL) $(addprefix --ignore=,$(SLOW)) $(PYTEST_ARGS) tests/unit

# In parallel where one leaves a processor idle: some checks have but one process, and clusters are waited for.
test: test-deps test-nfs-deps test-molecule-deps ## All of the tests, and what they need
	$(MAKE) --jobs=2 --output-sync=target lint docs test-galaxy test-sanity
	$(MAKE) test-unit test-integration test-compat test-newest
	$(MAKE) --jobs=2 --output-sync=line test-nfs-short test-molecule
	@python tests/tools/summary.py \
		$(addprefix $(RESULTS)/,galaxy.xml unit.xml integration.xml compat-unit.xml compat-integration.xml) \
		$(wildcard $(RESULTS)/newest-*.xml) $(RESULTS)/nfs.xml $(RESULTS)/molecule-*.xml

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

# Modules run within these tests, and what they fork counts. What Ansible unpacks on a host, in other tests, does not.
# Ten minutes: tests that count lines take twice as long. Other users, too, write what their children ran.
coverage: $(VENV_DEV)/.ready ## How much of plugins/ the unit tests run, by file; build/coverage/html has the lines
	rm -rf build/coverage
	mkdir -p -m 1777 build/coverage
	-coverage run -m pytest --quiet $(PARALLEL) $(PYTEST_ARGS) tests/unit
	coverage combine --quiet
	coverage html --quiet --directory build/coverage/html
	coverage report --skip-covered

# Each time with other input, and at other moments. What it finds becomes an example in its test.
soak: $(VENV_DEV)/.ready test-deps ## Hours of bad input (SOAK=20000 for each test), power cuts (CUTS=20) and kills (KILLS=200) of runs, prunes and repairs; SEED=…
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

# The next ansible-core, before it is released too. It runs only on Pythons that not every machine has.
test-newest: test-deps ## A short form of test-compat with the newest ansible-core, where there is a Python 3.13 or newer
	rm -f $(RESULTS)/newest-*.xml
	@if [ -n "$(FIND_NEWEST)" ]; then $(MAKE) --no-print-directory run-newest; else \
		echo "test-newest: skipped, as there is no Python 3.13 to 3.15 for the newest ansible-core"; fi

run-newest: $(VENV_NEWEST)/.ready
	PATH="$(CURDIR)/$(VENV_NEWEST)/bin:$$PATH" $(call pytest,newest-unit) $(PARALLEL) $(NEAR_ANSIBLE)
	PATH="$(CURDIR)/$(VENV_NEWEST)/bin:$$PATH" $(call pytest,newest-integration) $(PARALLEL) -m compat tests/integration

test-galaxy: $(VENV_DEV)/.ready $(VENV_GALAXY)/.ready ## What Galaxy and ansible-builder make of the built collection
	UVNAS_GALAXY_BIN=$(CURDIR)/$(VENV_GALAXY)/bin $(call pytest,galaxy) tests/galaxy

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
	cd requirements && for name in run dev compat galaxy newest; do \
		oldest=3.11; [ $$name != newest ] || oldest=3.13; \
		uv pip compile --quiet --upgrade --universal --python-version $$oldest --generate-hashes \
			--no-emit-index-url --no-header --output-file $$name.txt $$name.in >/dev/null || exit 1; \
	done

release: $(VENV_DEV)/.ready ## Changelog, commit, tag and tarball of VERSION=… (nothing is pushed)
	tests/tools/release.sh "$(VERSION)"

clean: ## Remove what was built and installed here, the demo too
	[ ! -d $(MACHINES)/nas ] || python3 molecule/machines/cluster.py destroy
	[ ! -d .demo ] || chmod -R u+rwX .demo
	rm -rf build .demo .venv .venv-dev .venv-compat .venv-newest .venv-galaxy .ansible .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment holds what its requirements say: it is made anew when they change.
$(VENV)/.ready: requirements/run.txt
	@tests/tools/venv.sh "$(FIND_PYTHON)" $(VENV) $<

$(VENV_DEV)/.ready: requirements/dev.txt
	@tests/tools/venv.sh "$(FIND_PYTHON)" $(VENV_DEV) $<

$(VENV_COMPAT)/.ready: requirements/compat.txt
	@tests/tools/venv.sh "$(FIND_OLDEST)" $(VENV_COMPAT) $<

$(VENV_NEWEST)/.ready: requirements/newest.txt
	@tests/tools/venv.sh "$(FIND_NEWEST)" $(VENV_NEWEST) $<

$(VENV_GALAXY)/.ready: requirements/galaxy.txt
	@tests/tools/venv.sh "$(FIND_PYTHON)" $(VENV_GALAXY) $<
