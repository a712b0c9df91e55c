# Everything is done with two commands, `make demo` and `make test`; the rest is for who works on the house.
.POSIX:
.PHONY: help demo test lint docs soak mutants bench venv lab-tools mtu-tools lock clean

PY = .venv/bin/python

help:
	@echo "make demo       scan a fleet of broken servers on this machine and show the verdicts"
	@echo "make test       everything that must hold: linters, types, floors, tests, laboratory"
	@echo "make lint       the part of it that runs nothing"
	@echo "make docs       write docs/cli.md anew from the commands"
	@echo "make soak       what takes long or many repeats: mutants, twenty laboratories, loss, own faults, silence, MTU"
	@echo "make mutants    every wrong version of the decision must fail its properties"
	@echo "make bench      connects a second on one core; what a hole costs a fleet; what a TLS target costs"
	@echo "make mtu-tools  write docs/mtu-tools.md anew: what common tools say of path MTU faults"
	@echo "make lab-tools  install the programs that the laboratory uses (Debian; as root)"
	@echo "make venv       the development environment, from the lock"
	@echo "make lock       resolve the lock anew (needs uv)"

venv: .venv/.dev

.venv/.run: requirements/run.txt pyproject.toml .ci/venv
	@echo "setting up .venv" >&2
	@.ci/venv requirements/run.txt
	@touch $@

.venv/.dev: requirements/dev.txt pyproject.toml .ci/venv
	@echo "setting up .venv for development" >&2
	@.ci/venv requirements/dev.txt
	@touch .venv/.run $@

lab-tools:
	@.ci/lab-tools

# Exit 2 of `lab scan` says that this machine cannot carry the laboratory, and what is missing.
demo: .venv/.run
	@if [ "$$(id -u)" = 0 ]; then .ci/lab-tools || echo "going on with what is there" >&2; fi
	@mkdir -p results
	@stamp=$$(date -u +%Y%m%dT%H%M%SZ); code=0; \
	$(PY) -m fleetprobe lab scan --verdicts --name demo-$$$$ -o results/demo-$$stamp.jsonl || code=$$?; \
	if [ $$code = 2 ]; then \
		echo "no laboratory on this machine; scanning a fleet on the loopback interface instead" >&2; \
		code=0; $(PY) -m fleetprobe lab scan --loopback --verdicts -o results/demo-$$stamp-loopback.jsonl || code=$$?; \
	fi; \
	exit $$code

test: lint
	@$(PY) -m pytest

lint: .venv/.dev
	@.venv/bin/ruff check
	@.venv/bin/mypy
	@PYTHONPATH=. .venv/bin/lint-imports

docs: .venv/.dev
	@$(PY) -m fleetprobe.cli.reference > docs/cli.md

mutants: .venv/.dev
	@$(PY) -m tests.properties.mutate benchmarks/results/mutants.json

bench: .venv/.dev
	@$(PY) -m benchmarks.connects -o benchmarks/results/connects.json
	@$(PY) -m benchmarks.mtu_fleet -o benchmarks/results/mtu_fleet.json
	@$(PY) -m benchmarks.handshakes -o benchmarks/results/handshakes.json

# What is not installed is left out of the table and named.
mtu-tools: .venv/.dev
	@.ci/lab-tools --bench || echo "going on with what is there" >&2
	@$(PY) -m benchmarks.mtu_tools docs/mtu-tools.md

# Each of the long runs goes on where an earlier one was cut short, so its old results go first.
soak: mutants
	@$(PY) -m benchmarks.twenty -o benchmarks/results/twenty.json
	@$(PY) -m benchmarks.silent -o benchmarks/results/silent.json
	@rm -f benchmarks/results/loss.json benchmarks/results/local.json benchmarks/results/errqueue.json
	@rm -f benchmarks/results/mtu.json
	@$(PY) -m benchmarks.soak_loss -o benchmarks/results/loss.json
	@$(PY) -m benchmarks.soak_local -o benchmarks/results/local.json
	@$(PY) -m benchmarks.soak_errqueue -o benchmarks/results/errqueue.json
	@$(PY) -m benchmarks.soak_certificates -o benchmarks/results/certificates.json
	@$(PY) -m benchmarks.soak_mtu -o benchmarks/results/mtu.json

lock:
	@for name in run dev; do \
		group=$$( [ $$name = run ] && echo build || echo dev ); \
		{ echo "# The locked $$( [ $$name = run ] && echo runtime || echo development ) environment, with hashes. Made by \`make lock\`; do not edit by hand."; \
		uv pip compile pyproject.toml --group $$group --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet; \
		} > requirements/$$name.new && mv requirements/$$name.new requirements/$$name.txt; \
	done

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
