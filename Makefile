# make help names the targets. Everything needs only Python 3.11+, make and git; the first target sets up by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROFILE ?= quick
DEVICE ?= auto
TREATMENT ?= batch
TREATMENTS ?=
ARGS ?=
comma := ,
space := $(subst ,, )

.PHONY: help setup reproduce compare restore test verify figures report show notebooks dashboard bench attack lint clean

help:
	@echo "make setup     the virtual environment; every other target makes it if it is missing"
	@echo "make reproduce [PROFILE=smoke|quick|full] [TREATMENT=NORM] [DEVICE=cpu|cuda] [ARGS=...]  train what is missing, draw, judge"
	@echo "make compare [PROFILE=exam|quick] [TREATMENTS=layer,rms]  put the claims to many normalisers: one table, one figure"
	@echo "make restore   finished runs back from the committed tables, so that PROFILE=full trains only the others"
	@echo "make test      the test suite          make lint     ruff, pyright, import contracts"
	@echo "make figures   redraw from the tables (ARGS=--compare: only compare)"
	@echo "make report    rewrite the report, the page and the README's table from the tables"
	@echo "make show      open the page that was written last: the map and every claim, in the browser"
	@echo "make notebooks execute the notebooks in place, on the committed tables and the bundled digits"
	@echo "make verify    train 200 steps of a committed run per experiment and normaliser again;"
	@echo "               ARGS='--claim SLUG --seed N' runs a claim's number again for one seed, to its end"
	@echo "make dashboard the runs in the terminal, by wandb leet: no account, no network; q leaves it"
	@echo "make attack    kill every command at 300 random moments, call it again, compare; ARGS=--disk fills its disk"
	@echo "make bench     the benchmark           make clean    remove the virtual environment and caches"

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one by: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

reproduce: setup
	$(BIN)/python scripts/reproduce.py --profile $(PROFILE) --device $(DEVICE) --treatment $(TREATMENT) $(ARGS)

compare: setup
	$(if $(filter-out file,$(origin TREATMENT)),$(error TREATMENT=$(TREATMENT) is for make reproduce; here it is TREATMENTS=$(TREATMENT)))
	$(BIN)/python scripts/compare.py --device $(DEVICE) $(if $(filter-out file,$(origin PROFILE)),--profile $(PROFILE)) \
		$(if $(TREATMENTS),--treatments $(subst $(space),$(comma),$(strip $(TREATMENTS)))) $(ARGS)

restore: setup
	$(BIN)/python scripts/restore.py $(ARGS)

test: setup
	$(BIN)/python -m pytest $(ARGS)

verify: setup
	$(BIN)/python scripts/verify.py $(ARGS)

figures: setup
	$(BIN)/python scripts/figures.py $(ARGS)

report: setup
	$(BIN)/python scripts/report.py $(ARGS)

show: setup
	$(BIN)/python scripts/show.py $(ARGS)

notebooks: setup
	$(BIN)/python scripts/notebooks.py $(ARGS)

dashboard: setup
	@$(BIN)/python scripts/dashboard.py --terminal $(ARGS)

bench: setup
	$(BIN)/python -m benchmarks $(ARGS)

attack: setup
	$(BIN)/python -m attack $(ARGS)

lint: setup
	$(BIN)/ruff check src scripts benchmarks attack tests notebooks docs
	$(BIN)/ruff format --check src scripts benchmarks attack tests notebooks docs
	$(BIN)/lint-imports
	$(BIN)/pyright

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis src/*.egg-info
	find src scripts benchmarks attack tests -name __pycache__ -type d -prune -exec rm -rf {} +
