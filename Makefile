# make install   a .venv with all that is needed, and the compiled scorer
# make demo      a small dataset rendered, described, ranked and scored
# make distill-demo, metric-demo, reduce-demo    students trained and scored on rendered pictures
# make test      the tests
# make bench     the tables of speed and memory

VENV ?= .venv
PYTHON := $(VENV)/bin/python
# the released model where it lies, else one made without training
MODEL = $(firstword $(wildcard caffemodel/model.caffemodel) caffemodel/demo_resnet101.caffemodel)

.PHONY: install demo distill-demo metric-demo reduce-demo test bench
install: $(VENV)/.installed eval/compute_ap

$(VENV)/.installed: setup.py constraints.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

eval/compute_ap: eval/compute_ap.cpp
	$(CXX) -std=c++11 -O2 -Wall -o $@ $<

demo: install
	$(PYTHON) datasets/make_demo.py
	$(if $(filter caffemodel/demo%,$(MODEL)),$(PYTHON) caffemodel/make_demo_model.py)
	$(PYTHON) test.py --dataset datasets/demo --weights $(MODEL) --S 512 --temp_dir tmp/demo \
	    --picture tmp/demo/top5.png

distill-demo metric-demo reduce-demo: %-demo: install
	$(PYTHON) experiments/recipes.py $*

test: install
	$(PYTHON) -m pytest

bench: install
	$(PYTHON) benchmarks/extraction_rate.py
	$(PYTHON) benchmarks/compare_genuine.py
	$(PYTHON) benchmarks/training_rate.py
	$(PYTHON) benchmarks/snapshots_genuine.py
	$(PYTHON) benchmarks/trunk_cache_rate.py
	$(PYTHON) benchmarks/all_pairs_rate.py
	$(PYTHON) benchmarks/sweep_rate.py
	$(PYTHON) benchmarks/reranking_rate.py
	$(PYTHON) benchmarks/index_recall.py
