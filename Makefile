# make quickstart: a distillation sweep on real digits, finished and tabulated.   make test: the tests.
# make tour: the quickstart's report, and analysis/tour.ipynb executed on its results.
# make faults: kills, full disks, lost nodes and networks; each sweep must end as an undisturbed one.
# make ray-versions: the tests that start a Ray and a smoke sweep, with the lowest Ray that pyproject.toml names and the highest there is.
# make bench: what kdray costs, in less than half an hour, as a table that is printed and written to bench/figures.md.
# make gpu: what kdray does on a CUDA GPU (right, memory, speed, sharing), in ten minutes, as a table in bench/gpu.md.
# make smoke: every sweep in sweeps/ from end to end, each shrunk to less than a minute.
# All create .venv and install what they need first; a second run skips that.
PYTHON ?= python3
# Tests run in so many processes; a file's tests stay together.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart tour test smoke faults ray-versions ray-lowest ray-highest lint bench gpu clean

quickstart: $(VENV)/.installed
	$(BIN)/kdray run sweeps/quickstart.yaml --results results

tour: quickstart
	$(BIN)/kdray report results --out results/report.html
	KDRAY_RESULTS=$(CURDIR)/results $(BIN)/jupyter execute analysis/tour.ipynb --output $(CURDIR)/results/tour.ipynb

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

smoke: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(WORKERS) -m smoke

faults: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m faults

ray-versions: ray-lowest ray-highest

ray-lowest: RAY = ==$(shell sed -n 's/.*"ray\[tune\]>=\([0-9.]*\).*/\1/p' pyproject.toml)
ray-lowest ray-highest:
	test -x $(VENV)-$@/bin/python || $(PYTHON) -m venv $(VENV)-$@
	$(VENV)-$@/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(VENV)-$@/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'ray[tune]$(RAY)'
	$(VENV)-$@/bin/python -m pytest -n $(WORKERS) --dist loadfile -m 'ray and not smoke and not faults'
	$(VENV)-$@/bin/python -m pytest -m smoke tests/sweep/definition/test_shipped.py -k quickstart

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-bench
	TORCHATTACKS=$(CURDIR)/$(VENV)/torchattacks $(BIN)/python -m tests.benchmarks --out bench/figures.md

gpu: $(VENV)/.installed
	$(BIN)/python -m tests.gpu.check --out bench/gpu.md

# Ends with a touched stamp, so that an install that broke off is done again.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# The libraries that kdray's attacks are measured against.
$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-ray-*
