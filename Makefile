# Each target needs Python 3.11+ and make, nothing else: it makes .venv and installs into it.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
# A folder with real images; the data page shows them beside the simulated ones.
REAL ?= $(wildcard ../shared/real)
CHROMIUM ?= chromium

.PHONY: book test proof bench checkpoints cellprofiler-style bioactivity screenshot clean

EDITION ?= lite
book: $(READY)  ## get the data, run what changed, render to html/EDITION (cpssl book --help)
	CPSSL_REAL=$(REAL) $(BIN)/cpssl book $(EDITION)

test: $(READY)  ## style, types, tests
	$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy && $(BIN)/pytest -n auto --dist worksteal

MARKS ?= whole or twice
proof: $(READY)  ## the whole book twice from nothing: same numbers; every page in a browser
	CPSSL_REAL=$(abspath $(REAL)) $(BIN)/pytest -m "$(MARKS)" -rs tests/book

bench: $(READY)  ## measurements, as ratios side by side in one run, kept in benchmarks/results/
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python benchmarks/_run.py

checkpoints: $(READY)  ## train the networks that the package ships, again
	$(BIN)/cpssl data simulate lite-train
	set -e; for m in dino mae simclr; do \
	  $(BIN)/cpssl train $$m data/lite-train/images.parquet -o runs/$${m}_lite; \
	  cp runs/$${m}_lite/$${m}_lite.safetensors runs/$${m}_lite/$${m}_lite.yaml cpssl_lite/models/weights/; \
	done

cellprofiler-style: $(READY)  ## measure the segmented cells of `lite` again and keep the table
	$(BIN)/cpssl data simulate lite
	rm -f cpssl_lite/profiles/kept/cellprofiler_style_lite.parquet data/lite/profiles/measured.parquet
	$(BIN)/cpssl measure data/lite/images.parquet -o data/lite/profiles/measured.parquet
	$(BIN)/python -c "from cpssl_lite.images.table import read_image_table; \
	  from cpssl_lite.profiles.kept import keep; \
	  keep(read_image_table('data/lite/images.parquet'), 'data/lite/profiles/measured.parquet')"

bioactivity: $(READY)  ## train the image networks of the bioactivity chapter again (a long run)
	rm -f book/kept/bioactivity.parquet
	$(BIN)/cpssl run bioactivity -p slow=train -o runs/bioactivity.ipynb --no-html

screenshot:  ## the README's picture, from the built book
	$(CHROMIUM) --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1280,900 \
	  --screenshot=book/first-page.png html/lite/index.html
	$(BIN)/python -c "from PIL import Image; p = 'book/first-page.png'; \
	  Image.open(p).convert('RGB').quantize(256, method=2).save(p, optimize=True)"

clean:  ## remove what `make book` made; .venv and runs/ stay
	rm -rf html book/executed data/lite data/lite-* data/ablation

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[book,test]'
	touch $@
