# make install   a .venv with all that is needed, the compiled scorer, and trained weights
# make weights   trained weights once more: EfficientNet-Lite0; or with MODEL=lite1 or lite2
# make demo      a small dataset rendered, described, ranked and scored
# make session   README's session in Python prints what the README shows
# make cover-demo    frames of the same origin, found in a rendered set, and a gallery of them
# make distill-demo, metric-demo, reduce-demo    students trained and scored on rendered pictures
# make lint      the style, checked by ruff
# make test      the tests
# make bench     the tables of speed and memory

VENV ?= .venv
PYTHON := $(VENV)/bin/python

.PHONY: install weights demo session cover-demo distill-demo metric-demo reduce-demo lint test bench
install: $(VENV)/.installed eval/compute_ap caffemodel/lite0_rmac.caffemodel

$(VENV)/.installed: setup.py constraints.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

eval/compute_ap: eval/compute_ap.cpp
	$(CXX) -std=c++11 -O2 -Wall -o $@ $<

caffemodel/lite0_rmac.caffemodel: $(VENV)/.installed caffemodel/heads/lite0_rmac.npz
	$(PYTHON) caffemodel/make_lite.py

weights: MODEL = lite0
weights: $(VENV)/.installed
	$(PYTHON) caffemodel/make_lite.py --trunk $(MODEL)

demo: install
	$(PYTHON) datasets/make_demo.py
	$(PYTHON) test.py --dataset datasets/demo --S 512 --temp_dir tmp/demo \
	    --picture tmp/demo/top5.png

session: install
	$(PYTHON) -m pytest -q -m demo tests/scripts/test_docs.py

cover-demo: COVER = datasets/demo_cover
cover-demo: WEIGHTS = caffemodel/demo_cover.caffemodel
cover-demo: install
	$(PYTHON) datasets/make_cover_demo.py --output $(COVER)
	$(PYTHON) caffemodel/make_demo_model.py --proto proto/deploy_resnet_tiny.prototxt \
	    --img_dir $(COVER)/images --S 496 --components 64 --output $(WEIGHTS)
	$(PYTHON) myPython/convert/convert_images2shards.py --img_dir $(COVER)/images --gpu -1 \
	    --proto proto/deploy_resnet_tiny.prototxt --weights $(WEIGHTS) --S 496 --multires \
	    --features_dir tmp/cover_demo/features
	$(PYTHON) myPython/convert/features2mapped.py --features tmp/cover_demo/features --gpu -1 \
	    --threshold 0.4 --output tmp/cover_demo/mapped.txt
	$(PYTHON) myPython/check_on_cover.py sweep --mapped tmp/cover_demo/mapped.txt \
	    --groups $(COVER)/groups.txt --low 0.40 --high 0.70 --step 0.05 \
	    --csv tmp/cover_demo/sweep.csv --plot tmp/cover_demo/sweep.png
	$(PYTHON) myPython/check_on_cover.py groups --mapped tmp/cover_demo/mapped.txt --components \
	    --threshold 0.6 --min_img_num_per_group 1 --output tmp/cover_demo/groups.txt
	$(PYTHON) myPython/make_gallery.py groups --mapped tmp/cover_demo/groups.txt \
	    --images $(COVER)/images --truth $(COVER)/groups.txt --output tmp/cover_demo/gallery \
	    --title 'Frames of the same origin'

distill-demo metric-demo reduce-demo: %-demo: install
	$(PYTHON) experiments/recipes.py $*

lint: install
	$(VENV)/bin/ruff check .

test: install
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto

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
