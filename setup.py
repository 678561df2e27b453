"""Install the engine `caffe` (pycaffe/caffe) and the toolkit's modules (myPython) as packages.

`pip install -c constraints.txt -e .` makes `import caffe` and `import custom_layers` work from any
folder. A genuine pycaffe on PYTHONPATH comes before this one.
"""

from setuptools import setup

setup(
    name='my-deep-retrieval',
    version='1.0.0',
    description='Deep Image Retrieval with prototxts, caffemodels and a Caffe on PyTorch',
    license='MIT',
    python_requires='>=3.10',
    package_dir={'caffe': 'pycaffe/caffe', '': 'myPython'},
    packages=['caffe', 'caffe.layer_types', 'caffe.proto', 'dataset_helper', 'scenes'],
    package_data={'caffe.proto': ['*.proto']},
    py_modules=['cli', 'custom_layers', 'descriptor', 'extraction', 'files', 'picture', 'ranking',
                'region_generator', 'scoring'],
    install_requires=[
        'torch>=2.6',
        'numpy',
        'opencv-python-headless',   # imports without a screen's libraries, as opencv-python does not
        'scikit-learn',
        'tqdm',
        'protobuf>=3.20',
        'PyYAML',
        # imported only where they are used: caffe and test.py run without them
        'faiss-cpu',
        'h5py',
        'lmdb',
        'matplotlib',
    ],
    extras_require={'test': ['pytest']},
)
