# make install   a virtual environment in .venv with everything; again only when pyproject.toml or constraints.txt change
# make demo      train on the AWS API graph through boto3, and ask the model: a few minutes
# make demo-language   build a small language model, teach it through boto3, and ask it: some minutes
# make demo-cleanroom   two parties train a model on data that neither shows the other, through boto3: a minute
# make serve     the server on http://127.0.0.1:8080, its data in .modelyard
# make test      all tests          make check   linters and types
# make bench     all benchmarks, about an hour      make docs   the generated pages
#
# PIP_ARGS go to pip. PyTorch's wheels for machines without a GPU are smaller than PyPI's: its site tells the index,
# to be given as make install PIP_ARGS="--extra-index-url ...". TEST_ARGS go to pytest; without them it works through
# several files at once, on up to four cores.

PIP_ARGS ?=
TEST_ARGS ?= --numprocesses=auto --maxprocesses=4 --dist=loadfile
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo demo-language demo-cleanroom serve test check bench docs
.DEFAULT_GOAL := install

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@python=$$(for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	    command -v $$name > /dev/null && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' && \
	        echo $$name && break; done); \
	test -n "$$python" || { echo "Modelyard needs Python 3.11 or newer; python3 here is $$(python3 --version 2>&1)"; exit 1; }; \
	test -x $(BIN)/python || $$python -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt $(PIP_ARGS) -e ".[graph,language,cleanroom,s3,dev]"
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/python examples/demo.py

demo-language: $(STAMP)
	$(BIN)/python examples/demo_language.py

demo-cleanroom: $(STAMP)
	$(BIN)/python examples/demo_cleanroom.py

serve: $(STAMP)
	$(BIN)/modelyard serve

test: $(STAMP)
	$(BIN)/python -m pytest $(TEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	@for script in $$(grep -l __main__ benchmarks/*.py); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

docs: $(STAMP)
	$(BIN)/python docs/generate.py
