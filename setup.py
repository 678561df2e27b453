"""Install the engine `caffe` (pycaffe/caffe) and the toolkit's modules (myPython) as packages.

`pip install -c constraints.txt -e .` makes `import caffe` and `import custom_layers` work from any
folder. A genuine pycaffe on PYTHONPATH comes before this one.
"""

from setuptools import setup

# the folders of myPython/deep_retrieval
PARTS = ('datasets', 'duplicates', 'gallery', 'making', 'ranking', 'scenes', 'search',
         'store', 'studies', 'surgery', 'training')

setup(
    name='my-deep-retrieval',
    version='1.0.0',
    description='Deep Image Retrieval with prototxts, caffemodels and a Caffe on PyTorch',
    license='MIT',
    python_requires='>=3.10',
    package_dir={'caffe': 'pycaffe/caffe', '': 'myPython'},
    packages=['caffe', 'caffe.layer_types', 'caffe.proto', 'caffe.runtime',
              'caffe.tools',
              *(f'deep_retrieval{name}' for name in ('', *(f'.{part}' for part in PARTS)))],
    package_data={'caffe.proto': ['*.proto'],
                  'deep_retrieval.gallery': ['*.html', '*.css', '*.js']},
    py_modules=['custom_layers', 'region_generator'],
    install_requires=[
        'torch>=2.6',
        'numpy',
        # imports without a screen's libraries, as opencv-python does not
        'opencv-python-headless',
        'scikit-learn',
        'scipy',
        'tqdm',
        'protobuf>=3.20',
        'PyYAML',
        'Jinja2',
        # imported only where they are used: caffe and test.py run without them
        'faiss-cpu',
        'h5py',
        'lmdb',
        'matplotlib',
        'pillow',
    ],
    extras_require={
        'interchange': ['onnx', 'safetensors'],     # model_tools.py: export-onnx, import-torch
        'milvus': ['pymilvus', 'milvus-lite'],          # search_index.py milvus_*
        'test': ['milvus-lite', 'onnx', 'onnxruntime', 'pydot', 'pymilvus', 'pytest',
                 'pytest-xdist', 'ruff', 'safetensors'],
    },
    entry_points={'console_scripts': [
        'deep-retrieval = deep_retrieval.__main__:main',
        'caffe = caffe.tools.caffe:main',
        'convert_imageset = caffe.tools.convert_imageset:main',
        'compute_image_mean = caffe.tools.compute_image_mean:main',
        'upgrade_net_proto_text = caffe.tools.upgrade_net_proto_text:main',
        'upgrade_net_proto_binary = caffe.tools.upgrade_net_proto_binary:main',
        'upgrade_solver_proto_text = caffe.tools.upgrade_solver_proto_text:main',
    ]},
)
