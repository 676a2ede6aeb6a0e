# Castellan's commands. Each does its own set-up; `verify` never writes, `fix` does.

CARGO ?= cargo
DATA ?= data
FIRST_SEED ?= 1
SIM_JOBS ?= $(shell nproc)
SIM_FLAGS ?=

.PHONY: help packages build run test verify fix interop sim sim-mutants wounds fuzz chaos bench bench-scale bench-micro docker docker-test clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

packages:
	@scripts/packages

build: packages ## the servers and the tools, into target/release
	@$(CARGO) build --release --locked -p coordinator -p broker -p cli

run: build ## three coordinators and three brokers in the foreground; Ctrl-C ends them (DATA=folder)
	@target/release/castellan up --dir $(DATA)

test: packages ## all tests that need nothing but this machine
	$(CARGO) build --locked --workspace --bins
	$(CARGO) test --locked --workspace

verify: packages ## formatting, lints and the walls between crates; changes nothing
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) check --locked -p common
	$(CARGO) check --locked -p coordinator --no-default-features
	$(CARGO) check --locked -p broker --no-default-features
	$(CARGO) check --locked -p tests

fix: packages ## what verify would complain of and a tool can mend
	$(CARGO) fmt --all
	$(CARGO) clippy --locked --workspace --all-targets --fix --allow-dirty --allow-staged

interop: build ## real clients, real Kafka and real ZooKeeper against ours (CASES="kazoo kcat")
	@tests/interop/run $(CASES)

sim: packages ## the simulated cluster: SEEDS=200 FIRST_SEED=1, SIM_FLAGS="--minimize --story --only 3,5"
	$(CARGO) run --locked --release -p tests --bin simulate -- \
		--seeds $(or $(SEEDS),200) --first-seed $(FIRST_SEED) --jobs $(SIM_JOBS) $(SIM_FLAGS)

chaos: build ## real processes killed, stopped, cut off and out of disk under load; bounded, as root
	$(CARGO) build --release --locked -p tests --bin registers --bin appends
	@tests/chaos/linearizable
	@tests/chaos/appends
	@tests/chaos/run

sim-mutants: packages ## planted bugs: the simulated cluster must see each, within SEEDS seeds
	$(CARGO) run --locked --release -p tests --bin mutants -- --seeds $(or $(SEEDS),40) --first-seed $(FIRST_SEED)

wounds: packages ## known bugs of the peers, each as a case, with and without our defence
	$(CARGO) run --locked --release -p tests --bin wounds

SECONDS ?= 60
fuzz: packages ## damaged bytes for every decoder and for all that is on disk, for SECONDS seconds
	$(CARGO) run --locked --release -p tests --bin fuzz -- $(SECONDS) $(if $(filter command line,$(origin FIRST_SEED)),$(FIRST_SEED))

bench: build ## ours and the peers' CPU, throughput and latency in one table
	@tests/bench/run

bench-scale: build ## how our cost grows with partitions, connections, watchers, znodes, groups, producers; a table and a plot
	@tests/bench/scale

bench-micro: packages ## the hot paths one by one (criterion): batch check and append, fetch, jute, the tree
	$(CARGO) bench --locked -p tests --features bench

docker: build ## the two images, with the engine that is running
	@docker/build

docker-test: build ## the images and compose files, with an engine of its own (as root)
	@docker/test

clean: ## what was built
	$(CARGO) clean
