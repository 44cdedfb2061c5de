# Each target needs Python 3.11+ and make, nothing else: it makes .venv and installs into it.
# `cellprofiler` alone wants more: see there.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
# A folder with real images; the data page shows them beside the simulated ones.
REAL ?= $(wildcard ../shared/real)
CHROMIUM ?= chromium

# CellProfiler 4.2.8 runs on Python 3.8 and 3.9 only, and needs a JDK.
CELLPROFILER := .cellprofiler
OLD_PYTHON ?= $(shell for p in python3.9 python3.8 $(wildcard $(HOME)/.pyenv/versions/3.[89].*/bin/python); \
  do $$p -c pass 2>/dev/null && echo $$p && break; done)

.PHONY: book test proof bench checkpoints cellprofiler cellprofiler-style cellprofiler-wells bioactivity screenshot pdf clean

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

cellprofiler: $(CELLPROFILER)/.installed  ## CellProfiler itself, in an environment of its own

$(CELLPROFILER)/.installed:
	@test -n "$(OLD_PYTHON)" || { echo "no Python 3.8 or 3.9 (python3.9, python3.8) on the path," \
	  "and CellProfiler 4.2.8 runs on no other: install one, or say make OLD_PYTHON=FILE" >&2; exit 2; }
	@command -v javac >/dev/null || { echo "no Java JDK (javac) on the path, and CellProfiler reads" \
	  "images with Java: install one, such as openjdk-17-jdk-headless" >&2; exit 2; }
	$(OLD_PYTHON) -m venv $(CELLPROFILER)
	set -e; pip="$(CELLPROFILER)/bin/python -m pip install --quiet --disable-pip-version-check"; \
	: "$${JAVA_HOME:=$$($(OLD_PYTHON) -c "import os, shutil; \
	  print(os.path.realpath(shutil.which('javac')).rsplit(os.sep, 2)[0])")}"; export JAVA_HOME; \
	$$pip 'numpy<1.24' 'cython<3' 'setuptools<60' wheel; \
	$$pip --no-build-isolation python-javabridge==4.0.4 centrosome==1.2.3; \
	$$pip scikit-image==0.18.3 scipy==1.9.0 'h5py~=3.7.0' 'matplotlib<3.8' 'tifffile<2022.4.22' \
	  docutils==0.15.2 boto3 psutil 'pyzmq~=22.3' 'inflect<7' jinja2 joblib mahotas six requests \
	  sentry-sdk==0.18.0 imageio 'scikit-learn<1' 'python-bioformats<5' prokaryote==2.4.4; \
	$$pip --no-deps cellprofiler-core==4.2.8.1 cellprofiler==4.2.8.1  # no wxPython, no MySQL
	touch $@

cellprofiler-style: $(READY)  ## measure the cells of the drawn screens of 02 and 03 again, keep the tables
	$(BIN)/cpssl data simulate lite
	rm -f cpssl_lite/profiles/kept/*.parquet data/lite*/profiles/CellProfiler-style.parquet
	$(BIN)/cpssl run gene_clustering -o runs/genes.ipynb --force --no-html
	$(BIN)/cpssl measure data/lite/images.parquet -o data/lite/profiles/CellProfiler-style.parquet
	$(BIN)/python -c "from cpssl_lite.images.table import read_image_table; \
	  from cpssl_lite.profiles.kept import FOLDER, keep; \
	  [keep(read_image_table(f'data/{d}/images.parquet'), f'data/{d}/profiles/CellProfiler-style.parquet', \
	  FOLDER / f'cellprofiler_style_{d}.parquet'.replace('-', '_')) for d in ('lite', 'lite-genes')]"

cellprofiler-wells: $(READY) $(CELLPROFILER)/.installed  ## 96 fields by CellProfiler itself (40 CPU minutes), the table kept
	$(BIN)/cpssl data simulate lite
	$(BIN)/python -c "from cpssl_lite.images.table import read_image_table; \
	  from cpssl_lite.profiles.kept import few_fields; \
	  few_fields(read_image_table('data/lite/images.parquet')).to_parquet('data/lite/few.parquet')"
	$(BIN)/cpssl measure data/lite/few.parquet -o data/lite/few/cellprofiler.parquet --program cellprofiler
	$(BIN)/cpssl measure data/lite/few.parquet -o data/lite/few/style.parquet
	$(BIN)/python -c "from cpssl_lite.images.table import read_image_table; \
	  from cpssl_lite.profiles.kept import FOLDER, keep; \
	  images = read_image_table('data/lite/few.parquet'); \
	  [keep(images, f'data/lite/few/{d}.parquet', FOLDER / f'few_{d}_lite.parquet') \
	  for d in ('cellprofiler', 'style')]"

bioactivity: $(READY)  ## train the image networks of the bioactivity chapter again (a long run)
	rm -f book/kept/bioactivity.parquet
	$(BIN)/cpssl run bioactivity -p slow=train -o runs/bioactivity.ipynb --no-html

screenshot:  ## the README's picture, from the built book
	$(CHROMIUM) --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1280,900 \
	  --screenshot=book/first-page.png html/lite/index.html
	$(BIN)/python -c "from PIL import Image; p = 'book/first-page.png'; \
	  Image.open(p).convert('RGB').quantize(256, method=2).save(p, optimize=True)"

# One chapter: make pdf PAGE=chapters/02_ssl_comparison
pdf: $(READY)  ## the built book as book.pdf, printed by Chromium
	CHROMIUM=$(CHROMIUM) $(BIN)/python -m cpssl_lite.book.pdf html/$(EDITION) book.pdf $(PAGE)

clean:  ## remove what `make book` made; .venv and runs/ stay
	rm -rf html book.pdf book/executed data/lite data/lite-* data/ablation

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[book,test]'
	touch $@
