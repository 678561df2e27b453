"""`import caffe` changes nothing that a host program would notice."""

import subprocess
import sys
import textwrap

import caffe
import pytest
import torch

STATE = '''
import os, signal, sys, threading
import cv2, numpy, torch      # what these change is theirs

def state():
    return {
        'tf32': (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32),
        'cudnn': (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        'threads': (torch.get_num_threads(), torch.get_num_interop_threads(),
                    threading.active_count()),
        'signals': [signal.getsignal(number) for number in signal.valid_signals()],
        'random': (torch.initial_seed(), torch.get_rng_state().sum().item(),
                   hash(numpy.random.get_state()[1].tobytes())),
        'dtype': torch.get_default_dtype(), 'grad': torch.is_grad_enabled(),
        'environment': dict(os.environ), 'path': list(sys.path), 'errors': numpy.geterr(),
        'limits': (sys.getrecursionlimit(), sys.excepthook, sys.unraisablehook),
        'folder': os.getcwd(), 'umask': os.umask(os.umask(0o22) and 0o22),
    }
'''
RUN = '''
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
before = state()
import caffe
caffe.set_mode_cpu()
with open(sys.argv[1], 'w') as file:
    file.write('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
               'layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" '
               'inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }')
caffe.Net(sys.argv[1], caffe.TRAIN).forward()
after = state()
assert before == after, [name for name in before if before[name] != after[name]]
'''
MALLOPT = '''
import ctypes
called = []

class Library:
    def __getattr__(self, name):
        return lambda *args: called.append((name, *args))

def open_library(name, *args, **kwargs):
    return Library() if name is None else real(name, *args, **kwargs)

import torch, numpy, cv2
real, ctypes.CDLL = ctypes.CDLL, open_library
import caffe
assert not called, called
caffe.keep_freed_memory()
assert {name for name, *_ in called} == {'mallopt'} and len(called) == 2, called
'''


def run(code, *args):
    done = subprocess.run([sys.executable, '-c', textwrap.dedent(code), *map(str, args)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_import_and_a_forward_leave_the_process_as_it_was(tmp_path):
    run(STATE + RUN, tmp_path / 'net.prototxt')


@pytest.mark.skipif(sys.platform != 'linux', reason='mallopt is glibc')
def test_malloc_is_only_changed_when_asked():
    run(MALLOPT)


def test_tf32_is_off_while_a_net_runs_on_a_gpu_and_restored(monkeypatch):
    monkeypatch.setattr(caffe.common._State, 'gpu', True)
    places = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = True
        with pytest.raises(KeyError), caffe.common.full_float32():
            assert not any(place.allow_tf32 for place in places)
            raise KeyError
        assert all(place.allow_tf32 for place in places)
    finally:
        for place, value in zip(places, before):
            place.allow_tf32 = value
