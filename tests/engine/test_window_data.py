"""WindowData samples and cuts windows as genuine Caffe does, and names what it cannot read."""

import caffe
import pytest
from data_nets import DATA, labels, layer, recorded


@pytest.fixture(autouse=True)
def in_data(monkeypatch):
    monkeypatch.chdir(DATA)


def test_mirrored_windows_are_among_genuine_ones(make_net):
    (text, phase, want), = [case.values for case in recorded('more_batches.npz', random=True)]
    genuine = [{array[i].tobytes() for key, array in want.items() if key.startswith('data')}
               for i in range(2)]
    assert [len(kinds) for kinds in genuine] == [2, 2]      # as it is and mirrored
    net = make_net(text, phase)
    mine = [{batch[i].tobytes() for batch in (net.forward()['data'].copy() for _ in range(20))}
            for i in range(2)]
    assert mine == genuine


def window_data(source, transform='crop_size: 8', **options):
    rest = ' '.join(f'{name}: {value}' for name, value in options.items())
    return layer('WindowData', f'transform_param {{ {transform} }} window_data_param {{ '
                 f'source: "{source}" root_folder: "img/" batch_size: 9 {rest} }}')


def test_share_of_foreground(make_net):
    """A window at the foreground's threshold is one, one at the background's is none."""
    text = window_data('windows_inner.txt', fg_threshold=0.45, bg_threshold=0.1, fg_fraction=0.5)
    with pytest.raises(caffe.CaffeError, match='no window is background'):
        make_net(text)
    text = text.replace('bg_threshold: 0.1', 'bg_threshold: 0.2')
    assert labels(make_net(text), 1)[:5] == [0] * 5     # 4.5 is rounded down
    assert set(labels(make_net(text), 8)) == {0, 1, 2}
    every = labels(make_net(text.replace('fg_fraction: 0.5', 'fg_fraction: 1')), 1)
    assert set(every) == {1, 2}


WINDOWS = '# 0\n0.png\n3 20 24\n2\n1 0.9 0 0 5 5\n0 0 0 0 5 5\n'


@pytest.mark.parametrize('old, new, words', [
    ('# 0', '0', [":1: '0' is not #"]),
    ('3 20', '1 20', [':3: ', '3 channels']),
    ('1 0.9', 'x 0.9', [':5: ', "'x' is not a class"]),
    ('1 0.9', '0 0.9', [':5: ', 'class of at least 1']),
    ('5 5\n0 0', '5\n0 0', [':6: ', 'ends']),
    ('\n2\n', '\n1\n', [":6: '0' is not #"]),
    ('1 0.9', '1 0.4', ['no window is foreground']),
])
def test_bad_window_files(make_net, tmp_path, old, new, words):
    assert old in WINDOWS
    (tmp_path / 'windows').write_text(WINDOWS.replace(old, new, 1))
    with pytest.raises(caffe.CaffeError) as error:
        make_net(window_data(tmp_path / 'windows'))
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize('old, new, words', [
    ('0.png', 'gone.png', ['gone.png: No such file']),
    ('0 0 5 5\n0', '0 0 50 5\n0', ['windows:5', 'img/0.png', '24 x 20']),
    ('0 0 5 5\n0', '9 9 5 5\n0', ['windows:5']),
])
def test_bad_windows(make_net, tmp_path, old, new, words):
    (tmp_path / 'windows').write_text(WINDOWS.replace(old, new, 1))
    net = make_net(window_data(tmp_path / 'windows'))
    with pytest.raises(caffe.CaffeError) as error:
        net.forward()
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize('options, words', [
    ({'transform': ''}, 'crop_size'), ({'context_pad': 4}, 'context_pad'),
    ({'fg_fraction': 1.5}, 'fg_fraction'),
    ({'transform': 'crop_size: 18 mean_file: "mean.binaryproto"'}, 'does not fit'),
    ({'transform': 'crop_size: 8 mean_value: 1 mean_value: 2'}, 'does not fit'),
])
def test_bad_window_params(make_net, options, words):
    with pytest.raises(caffe.CaffeError, match=words):
        make_net(window_data('windows_inner.txt', **options))
