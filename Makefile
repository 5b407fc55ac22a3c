# build: a ready .venv with the realm command    demo: the main job    test, check: what CI runs
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := build/stamps

.PHONY: build demo test check sanitize bench guests format clean
build: $(STAMPS)/build

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMPS)/tools: $(BIN)/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check "scikit-build-core>=1.1" "nanobind>=3.1" "cmake>=3.22" ninja
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/build: $(STAMPS)/tools CMakeLists.txt $(wildcard native/*/*.cpp native/*/*.h native/*/*.inc)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --editable ".[hub,server]"
	@touch $@

# What the tests and checks need besides; torch by itself first, so that nothing pulls another build of it.
$(STAMPS)/develop: $(STAMPS)/build
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --editable ".[hub,server,test,check]"
	@touch $@

demo: build
	$(BIN)/realm demo

test: $(STAMPS)/develop
	$(BIN)/python tests/run.py

check: $(STAMPS)/develop
	$(BIN)/ruff format --check src tests attacks benchmarks guests adapters
	$(BIN)/ruff check src tests attacks benchmarks guests adapters
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror native/*/*.cpp native/*/*.h native/*/*.inc
	$(BIN)/python guests/build.py --check

# The native core under the address and undefined behaviour sanitizers, without the real models.
sanitize: $(STAMPS)/develop
	$(BIN)/cmake -S . -B build/sanitize -G Ninja -DCMAKE_BUILD_TYPE=Release -DREALM_SANITIZE=ON \
		-DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DPython_EXECUTABLE=$(abspath $(BIN))/python \
		-Dnanobind_DIR=$$($(BIN)/python -m nanobind --cmake_dir) > /dev/null
	$(BIN)/cmake --build build/sanitize
	mkdir -p build/sanitize/tree && cp -r src/realm build/sanitize/tree/
	$(BIN)/cmake --install build/sanitize --prefix build/sanitize/tree > /dev/null
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \
		PYTHONPATH=build/sanitize/tree $(BIN)/python -m pytest -p no:cacheprovider \
		tests/native tests/engine tests/memory -k "not real_models"

format: $(STAMPS)/develop
	$(BIN)/ruff format src tests attacks benchmarks guests adapters
	$(BIN)/ruff check --fix src tests attacks benchmarks guests adapters
	$(BIN)/clang-format -i native/*/*.cpp native/*/*.h native/*/*.inc

# The committed WASM programs, from their sources.
guests: $(STAMPS)/develop
	$(BIN)/python guests/build.py

# Every claimed figure, against its peers: some 25 minutes. BENCH="--lines 1 --rounds 1" for less.
bench: build
	$(BIN)/python benchmarks/campaign.py $(BENCH)

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
