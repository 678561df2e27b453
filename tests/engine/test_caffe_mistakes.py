"""A mistake at the command `caffe` is one line that says what is wrong, and a failing status."""

import caffe
import pytest
from caffe.tools import caffe as command
from line_net import NET, SOLVER, make_folder, save_weights


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with net, solver and data."""
    monkeypatch.chdir(tmp_path)
    return make_folder(tmp_path)


@pytest.fixture
def broken(folder):
    """Files of all kinds that are not what they should be."""
    save_weights('w.caffemodel', 2, 1)
    caffe.get_solver('solver.prototxt').snapshot()
    for name in ('w.caffemodel', 'line_iter_0.solverstate'):
        (folder / f'cut_{name}').write_bytes((folder / name).read_bytes()[:-3])
    (folder / 'noise').write_bytes(bytes(range(255, 0, -1)))
    (folder / 'typo.prototxt').write_text(NET.replace('num_output', 'numoutput'))
    (folder / 'type.prototxt').write_text(NET.replace('"Reduction"', '"Redaction"'))
    for name, old, new in [('gpu', 'CPU', 'GPU'), ('nonet', 'net.pro', 'nonet.pro'),
                           ('kind', 'solver_mode', 'type: "X" solver_mode'),
                           ('type', 'net.pro', 'type.pro'), ('prefix', '"line"', '"no/line"')]:
        (folder / f'{name}_solver').write_text(SOLVER.replace(old, new))


TRAIN = 'train --solver solver.prototxt '
SCORE = 'test --model net.prototxt '


@pytest.mark.parametrize('args, words', [
    ('train', 'train needs --solver'),
    ('train --solver none', 'none: No such file'),
    ('train --solver net.prototxt', 'net.prototxt:1:1: '),
    ('train --solver nonet_solver', 'nonet.prototxt: No such file'),
    ('train --solver kind_solver', "kind_solver: unknown solver type 'X'"),
    ('train --solver type_solver', "type.prototxt: layer 'mean' (Redaction): unknown layer type"),
    ('train --solver prefix_solver', "create the folder 'no'"),
    ('train --solver gpu_solver', 'gpu_solver: solver_mode: there is no GPU 0'),
    (TRAIN + '--gpu 0', '--gpu: there is no GPU 0'),
    (TRAIN + '--gpu 0,1', '--gpu: there is no GPU 0'),
    (TRAIN + '--gpu all', '--gpu: there is no GPU 0'),
    (TRAIN + '--snapshot x --weights w.caffemodel', 'not both'),
    (TRAIN + '--snapshot none', 'none: No such file'),
    (TRAIN + '--snapshot noise', 'noise: is not a solver state'),
    (TRAIN + '--snapshot cut_line_iter_0.solverstate', 'cut_line_iter_0.solverstate: is not a'),
    (TRAIN + '--snapshot w.caffemodel', 'w.caffemodel: is not a solver state'),
    (TRAIN + '--weights none', 'none: No such file'),
    (TRAIN + '--weights w.caffemodel,noise', 'noise: is not a caffemodel'),
    (TRAIN + '--weights cut_w.caffemodel', 'cut_w.caffemodel: is not a caffemodel'),
    (SCORE, 'test needs --weights'),
    ('test --weights w.caffemodel', 'test needs --model'),
    ('test --model none --weights w.caffemodel', 'none: No such file'),
    (SCORE + '--weights cut_w.caffemodel', 'cut_w.caffemodel: is not a caffemodel'),
    (SCORE + '--weights w.caffemodel --gpu 9', 'there is no GPU 9'),
    ('time', 'time needs --model'),
    ('time --model typo.prototxt', 'typo.prototxt:5:'),
    ('device_query --gpu 9', 'there is no GPU 9'),
])
def test_mistakes_end_in_one_line(broken, capsys, monkeypatch, args, words):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    with pytest.raises(SystemExit) as end:
        command.main(args.split())
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith('I')]
    assert end.value.code == 1 and len(lines) == 1
    assert lines[0].startswith('caffe: ') and words in lines[0]


@pytest.mark.parametrize('args, words', [
    ('tain', "invalid choice: 'tain'"),
    (TRAIN + '--gpu one', "--gpu: takes numbers or \"all\", not 'one'"),
    (TRAIN + '--sigint_effect die', "invalid choice: 'die'"),
    (TRAIN + '--level low', "invalid int value: 'low'"),
    ('time --iterations 0', '--iterations must be positive'),
    ('time --phase train', "invalid choice: 'train'"),
    (TRAIN + '--resume x', 'unrecognized arguments: --resume'),
])
def test_wrong_flags_show_the_usage(capsys, args, words):
    with pytest.raises(SystemExit) as end:
        command.main(args.split())
    err = capsys.readouterr().err
    assert end.value.code == 2 and err.startswith('usage: caffe') and words in err.splitlines()[-1]
