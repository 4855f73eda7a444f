# The habits of this project; `make help` lists them.
# PYTHON builds the virtual environments; make test needs nothing else that is not in this tree.

PYTHON  ?= $(firstword $(wildcard /usr/bin/python3) python3)
CONFIG  ?= visualpath.yaml
VIDEO   ?=
SECONDS ?= 600
MINUTES ?= 30
SEED    ?=
DESTDIR ?=
PREFIX  ?= /opt/visualpath
VENVS   ?= core light face
RELEASE ?= 1
BUILD    = $(PYTHON) venvs/build.py
INSTALL  = $(PYTHON) -B deploy/install/install.py --python $(PYTHON) --prefix "$(PREFIX)"
VPCTL    = .venvs/core/bin/vpctl --config $(CONFIG)
SAMPLE   = var/sample/faces.mp4

.DEFAULT_GOAL := help
.PHONY: help venvs venv-table wheelhouse conflicts demo up down restart status logs test lint faults soak fuzz clean
.PHONY: bench bench-align bench-clip bench-latency bench-streams bench-throughput bench-trace bench-workers
.PHONY: install uninstall deb test-systemd
.PHONY: media-table eval eval-ocr eval-scene

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venvs: ## build the virtual environments that run the chain (.venvs/)
	@$(BUILD) core light face

venv-table: ## what each of them holds, its size and how long its build took
	@$(BUILD) --report core light face

wheelhouse: ## download what is missing of all their packages into wheelhouse/, to build without a network
	@$(PYTHON) venvs/wheelhouse.py

demo: venvs ## run the whole chain on a sample, or on VIDEO=path, and show what came of it
ifeq ($(VIDEO),)
	@$(MAKE) --no-print-directory $(SAMPLE)
	@.venvs/core/bin/python deploy/sample/demo.py $(SAMPLE) var/demo
else
	@.venvs/core/bin/python deploy/sample/demo.py "$(VIDEO)" var/demo
endif

$(SAMPLE): deploy/sample/make_sample.py
	@$(BUILD) core sample
	@mkdir -p $(@D)
	@.venvs/core/bin/python $< --portrait .venvs/sample/lib/python3*/site-packages/skimage/data/astronaut.png --out $@

up: venvs ## start every daemon of CONFIG (default visualpath.yaml) on this machine
	@$(VPCTL) up

down: ## stop them
	@$(VPCTL) down

restart: ## restart them, so that they read CONFIG again
	@$(VPCTL) restart

status: ## show each daemon and how it is (exit code 2: make's word for not all up)
	@$(VPCTL) status

logs: ## show the last lines each of them wrote
	@$(VPCTL) logs

test: ## build what is missing, lint, and run all tests
	@$(BUILD) core light face ocr scene onnx insight people sample dev
	@$(MAKE) --no-print-directory lint $(SAMPLE)
	@.venvs/dev/bin/python -m pytest

test-systemd: $(SAMPLE) ## boot a systemd in a namespace, install and break it all there: a table
	@$(BUILD) dev
	@$(INSTALL) --destdir "$(CURDIR)/var/system/stage" core light face
	@rm -rf var/system/package/stage/etc var/system/package/*.deb
	@$(INSTALL) --destdir "$(CURDIR)/var/system/package/stage" core light
	@$(PYTHON) deploy/deb/build_deb.py var/system/package/stage --release 1
	@$(PYTHON) deploy/deb/build_deb.py var/system/package/stage --release 2
	@VISUALPATH_BOX=var/system .venvs/dev/bin/python -m pytest --timeout 600 tests/system

lint: ## ruff, mypy --strict, import-linter
	@$(BUILD) dev
	@.venvs/dev/bin/ruff check .
	@.venvs/dev/bin/ruff format --check .
	@.venvs/dev/bin/mypy
	@.venvs/dev/bin/lint-imports

bench: bench-align bench-throughput bench-trace bench-latency ## all four: ratios within one run, and targets

bench-align: ## the alignment engine: inputs/s and latency, and whether they meet the targets (exit code)
	@$(BUILD) dev
	@.venvs/dev/bin/python tests/bench/bench_align.py

bench-latency: ## the whole chain for 60 s beside the documents' loop, and six faults; exit code as bench-align
	@$(BUILD) core dev
	@.venvs/dev/bin/python tests/bench/bench_latency.py

bench-throughput: ## OBS a second into fusion over real sockets, beside a bare recv loop
	@$(BUILD) dev
	@.venvs/dev/bin/python tests/bench/bench_throughput.py

bench-clip: ## a clip of 5 s of 1080p beside x264 ultrafast, and how soon it is playable; exit code as bench-align
	@$(BUILD) dev
	@.venvs/dev/bin/python tests/bench/bench_clip.py

bench-streams: ## four 720p cameras for SECONDS (600), or VIDEO=path: CPU, memory, losses; exit code as bench-align
	@$(BUILD) core light dev
	@.venvs/dev/bin/python tests/bench/bench_streams.py --seconds $(SECONDS) $(if $(VIDEO),--video "$(VIDEO)")

media-table: ## every file of ../shared/media beside what ffprobe says of it, and clips cut out; exit code as bench-align
	@$(BUILD) dev
	@.venvs/dev/bin/python tests/bench/media_table.py

eval: venvs ## what face, gesture and pose see in ../shared/media, beside what is there: tables, and what to look at
	@$(BUILD) dev
	@.venvs/dev/bin/python tests/eval/evaluate.py

eval-ocr: ## what ocr reads in ../shared/media, beside what is written there
	@$(BUILD) ocr dev
	@.venvs/dev/bin/python tests/eval/evaluate_text.py

eval-scene: ## the cuts that scene finds in ../shared/media, beside those that are there
	@$(BUILD) scene dev
	@.venvs/dev/bin/python tests/eval/evaluate_scenes.py

bench-trace: ## what each trace level costs, beside OFF
	@$(BUILD) dev
	@.venvs/dev/bin/python tests/bench/bench_trace.py

bench-workers: ## a 720p frame to an idle extractor and back, at each isolation, beside a bare socket pair; exit code too
	@$(BUILD) light dev
	@.venvs/dev/bin/python tests/bench/bench_workers.py

faults: venvs $(SAMPLE) ## kill everything, start in every order, get everything wrong, play every fault; tables and an audit
	@.venvs/core/bin/python tests/faults/kill_rounds.py --rounds 10
	@.venvs/core/bin/python tests/faults/start_orders.py --orders 20
	@.venvs/core/bin/python tests/faults/show_bad_input.py
	@.venvs/core/bin/python tests/faults/show_faults.py

soak: ## one chain under random faults for MINUTES (30), SEED=n to have them again; an audit, exit code as bench-align
	@$(BUILD) core light
	@.venvs/core/bin/python tests/faults/soak.py --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

fuzz: ## changed messages, files and configurations for whatever reads them, for SECONDS (600); exit code as bench-align
	@$(BUILD) dev
	@.venvs/dev/bin/python tests/fuzz/show_fuzz.py --seconds $(SECONDS)

conflicts: ## libraries that refuse each other, at work beside each other in one live chain
	@$(BUILD) core face conflict-onnx conflict-opencv
	@.venvs/core/bin/python tests/conflicts/show_conflicts.py

install: ## install VENVS on this machine, or into the stage DESTDIR, below PREFIX; deploy/install/README.md
	@$(INSTALL) --destdir "$(DESTDIR)" $(VENVS)

uninstall: ## remove what `make install` put there; edited configuration, state and clips stay
	@$(INSTALL) --destdir "$(DESTDIR)" --uninstall

deb: ## pack VENVS as a Debian package (var/deb/), version RELEASE
	@rm -rf var/deb/stage/etc
	@$(INSTALL) --destdir "$(CURDIR)/var/deb/stage" --exact $(VENVS)
	@$(PYTHON) deploy/deb/build_deb.py var/deb/stage --release $(RELEASE)

clean: ## remove what was built and what runs left behind
	rm -rf .venvs var .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} + ; find . -name '*.egg-info' -prune -exec rm -rf {} +
