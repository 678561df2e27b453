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
    packages=['caffe', 'caffe.layer_types', 'caffe.proto', 'caffe.tools', 'dataset_helper', 'scenes'],
    package_data={'caffe.proto': ['*.proto']},
    py_modules=['class_folders', 'class_layers', 'cli', 'custom_layers', 'descriptor',
                'extraction', 'features', 'files', 'layer_base', 'model_tools', 'net_branches',
                'net_report', 'net_surgery', 'onnx_export', 'pair_losses', 'picture', 'ranking',
                'region_generator', 'scoring', 'torch_import', 'train', 'training'],
    install_requires=[
        'torch>=2.6',
        'numpy',
        'opencv-python-headless',   # imports without a screen's libraries, as opencv-python does not
        'scikit-learn',
        'scipy',
        'tqdm',
        'protobuf>=3.20',
        'PyYAML',
        # imported only where they are used: caffe and test.py run without them
        'faiss-cpu',
        'h5py',
        'lmdb',
        'matplotlib',
    ],
    extras_require={
        'interchange': ['onnx', 'safetensors'],     # model_tools.py: export-onnx, import-torch
        'test': ['onnx', 'onnxruntime', 'pydot', 'pytest', 'safetensors'],
    },
    entry_points={'console_scripts': [
        'caffe = caffe.tools.caffe:main',
        'convert_imageset = caffe.tools.convert_imageset:main',
        'compute_image_mean = caffe.tools.compute_image_mean:main',
        'upgrade_net_proto_text = caffe.tools.upgrade_net_proto_text:main',
        'upgrade_net_proto_binary = caffe.tools.upgrade_net_proto_binary:main',
        'upgrade_solver_proto_text = caffe.tools.upgrade_solver_proto_text:main',
    ]},
)
