# make demo   environment, sample data, the whole pipeline, the report
# make test   environment, lint, types, import laws, all tests; real Slurm, XRootD and Chromium where
#             they can be installed
# make quick  lint, types, import laws and the tests of what changed since the last commit
# make soak   faults at random moments over campaigns on a real Slurm: hours, and a table
# make months one campaign through months of changes: a quarter of an hour, and a table
# make bench  ratios against what one would otherwise pick, and against the machine's limits

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
RIVALS := $(VENV)/.rivals-ready
SITE   ?= local

.PHONY: demo test quick lint slurm servers browser soak months bench clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt \
		--only-binary pythia8mc,xrootd --editable '.[all]' --group dev
	touch $@

demo: $(READY)
	$(BIN)/cosmotron run jobs/campaigns/quickstart.toml --site $(SITE) --yes

test: lint slurm servers browser
	$(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist loadgroup --no-loadscope-reorder

# SINCE=main takes what changed since that commit.
SINCE ?= HEAD

quick: lint
	$(BIN)/python tests/changed.py $(SINCE) | xargs --no-run-if-empty \
		$(BIN)/pytest -q -m "not slow and not slurm and not mpi" \
		--numprocesses logical --maxprocesses 4 --dist loadgroup --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/hadolint containers/*.Dockerfile
	$(BIN)/python tests/audit.py

# Debian's Slurm, where we are root and apt is there; elsewhere its tests skip and say so.
slurm:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then tests/slurm/testbed install; \
	else echo "slurm: not root on Debian, so the tests that need a real Slurm will skip"; fi

# Debian's XRootD, which serves root:// addresses to tests of remote sources, and bindfs, which stands
# for a file system whose locks are each client's own.
servers:
	@if command -v xrootd >/dev/null && command -v bindfs >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends xrootd-server bindfs >/dev/null; \
	else echo "servers: not root on Debian, so tests that need XRootD or bindfs will skip"; fi

# The browser that the report's page is tried in.
browser:
	@if command -v chromium >/dev/null || command -v google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else echo "browser: not root on Debian, so tests of the page in Chromium will skip"; fi

TIMES ?= 10

soak: $(READY) slurm
	$(BIN)/python -m tests.soak --times $(TIMES) --together --wide

months: $(READY)
	$(BIN)/python -m tests.months --site $(SITE) --to docs/measured/months.md

# MosaicML streaming declares numpy < 2.2 and what clouds need; it lies apart, without these.
$(RIVALS): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/pip install --quiet --no-deps --target $(VENV)/rivals \
		mosaicml-streaming==0.13.0 brotli==1.2.1 catalogue==2.0.10 python-snappy==0.7.3 zstd==1.5.7.2
	touch $@

bench: $(RIVALS)
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.neighbour_cost

clean:
	rm -rf $(VENV) runs dist .mypy_cache .pytest_cache .ruff_cache
