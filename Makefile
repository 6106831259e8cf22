# Python 3.11 or 3.12 and make: nothing else is needed.
BIN := .venv/bin
STAMP := .venv/.made

.PHONY: run setup setup-train setup-wire test check bench lock wire clean

run: setup            ## start everything, ask the recorded question, show where the time went
	@$(BIN)/voxloop run $(if $(ONCE),--once,)

setup: $(STAMP)       ## make .venv and .venv-triton from the locked requirements

$(STAMP): requirements/main.txt requirements/triton.txt pyproject.toml setup.sh
	@PYTHON="$(PYTHON)" sh setup.sh
	@touch $@

setup-train: setup    ## make .venv-train: PyTorch, for `voxloop model finetune` and the test of it
	@PYTHON="$(PYTHON)" sh setup.sh train

setup-wire: setup     ## make .venv-wire: NVIDIA's stubs of Audio2Face-3D, for the tests of the wire
	@PYTHON="$(PYTHON)" sh setup.sh wire

test: setup           ## every test, against the real engines
	@$(BIN)/pytest

check: setup          ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: setup          ## every benchmark of this tree
	@$(BIN)/voxloop bench all

lock: setup           ## resolve the requirements anew, with hashes and without an index address
	$(BIN)/uv pip compile pyproject.toml --extra embedded --extra bench --extra record --extra dev --excludes requirements/main.excludes \
	  --generate-hashes --no-emit-index-url --universal --python-version 3.11 -q -o requirements/main.txt
	$(BIN)/uv pip compile pyproject.toml -c requirements/main.txt --excludes requirements/images.excludes \
	  --generate-hashes --no-emit-index-url --universal --python-version 3.11 -q -o requirements/service.txt
	$(BIN)/uv pip compile pyproject.toml --extra embedded -c requirements/main.txt --excludes requirements/images.excludes \
	  --generate-hashes --no-emit-index-url --universal --python-version 3.11 -q -o requirements/engine.txt
	$(BIN)/uv pip compile requirements/triton.in --excludes requirements/triton.excludes \
	  --generate-hashes --no-emit-index-url --universal --python-version 3.11 -q -o requirements/triton.txt
	$(BIN)/uv pip compile requirements/train.in --excludes requirements/train.excludes \
	  --generate-hashes --no-emit-index-url --universal --python-version 3.11 -q -o requirements/train.txt
	$(BIN)/uv pip compile requirements/wire.in \
	  --generate-hashes --no-emit-index-url --universal --python-version 3.11 -q -o requirements/wire.txt

wire: setup           ## generate shared/wire from proto/
	@$(BIN)/python proto/generate.py

clean:
	rm -rf .venv .venv-triton .venv-train .venv-wire .voxloop
