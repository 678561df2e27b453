"""GeM pooling: by hand, against loops and finite differences, and learning in a net."""

import math

import caffe
import numpy as np
import pytest
from caffe.layer import param_count
from custom_nets import inputs, layer
from deep_retrieval.surgery import nets
from deep_retrieval.training.gem import gem, gem_backward, windows


def naive(x, p, eps=1e-6):
    """One channel at a time, as the paper has it."""
    out = np.zeros((*x.shape[:2], 1, 1))
    for image, channel in np.ndindex(*x.shape[:2]):
        cells = [max(value, eps) ** p for value in x[image, channel].ravel().tolist()]
        out[image, channel] = (sum(cells) / len(cells)) ** (1 / p)
    return out


def sample(seed, shape=(2, 3, 4, 5)):
    return np.random.default_rng(seed).normal(0.5, 1, shape)


def test_by_hand():
    """1 and 7 with p = 2: sqrt((1 + 49) / 2) = 5, dy/dx = x / (2 y); below 0 counts as 0."""
    x = np.array([1., 7.]).reshape(1, 1, 1, 2)
    assert gem(x, 2).item() == pytest.approx(5)
    to_x, to_p = gem_backward(x, 2, np.ones((1, 1, 1, 1)))
    assert to_x.ravel() == pytest.approx([0.1, 0.7])
    # y / p (mean(x^2 log x) / 25 - log(25) / 2)
    assert to_p == pytest.approx(5 / 2 * (49 * math.log(7) / 2 / 25 - math.log(25) / 2))
    assert gem(np.array([-3., 4.]).reshape(1, 1, 2, 1), 1).item() == pytest.approx(2)


@pytest.mark.parametrize('p', [0.5, 1, 2.7, 3, 12])
def test_equals_a_loop(p):
    np.testing.assert_allclose(gem(sample(0), p), naive(sample(0), p), rtol=1e-12)


def test_average_and_maximum_are_its_ends():
    x = np.abs(sample(1)) + 0.1
    np.testing.assert_allclose(gem(x, 1), x.mean((2, 3), keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(gem(x, 2000), x.max((2, 3), keepdims=True), rtol=2e-3)


@pytest.mark.parametrize('p', [0.5, 1, 3, 7.5])
def test_gradients_equal_finite_differences(p):
    x, diff = sample(2), np.random.default_rng(3).normal(size=(2, 3, 1, 1))
    to_x, to_p = gem_backward(x, p, diff)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = 1e-7
        change = (naive(x + step, p) - naive(x - step, p)) / 2e-7
        assert np.sum(change * diff) == pytest.approx(to_x[index], rel=1e-4, abs=1e-6)
    change = (naive(x, p + 1e-6) - naive(x, p - 1e-6)) / 2e-6
    assert np.sum(change * diff) == pytest.approx(to_p, rel=1e-6)


def test_large_powers_do_not_overflow_in_float32():
    x = np.float32([[[[0, 1e30, 3e30]]]])
    to_x, to_p = gem_backward(x, 60, np.ones((1, 1, 1, 1), np.float32))
    assert gem(x, 60).item() == pytest.approx(3e30 * (1 / 3) ** (1 / 60), rel=1e-5)
    assert np.isfinite(to_x).all() and math.isfinite(to_p)


def test_regions_have_the_cells_of_roi_pooling(make_net):
    """The largest cell is what ROIPooling finds; GeM comes close to it with a large power."""
    rois = np.float32([[0, 0, 0, 31, 31], [1, 15.5, 16, 47.9, 48], [1, 40, 8, 20, 4],
                       [0, 63, 63, 200, 200], [0, 300, 300, 400, 400]])
    x = np.random.default_rng(4).uniform(0.5, 1, (2, 3, 5, 6)).astype(np.float32)
    net = make_net(inputs(x=x.shape, rois=rois.shape)
                   + layer('GeMLayer', 'x rois', 'y', "{'p': 3000, 'spatial_scale': 0.0625}")
                   + 'layer { name: "max" type: "ROIPooling" bottom: "x" bottom: "rois" top: "max" '
                     'roi_pooling_param { pooled_h: 1 pooled_w: 1 spatial_scale: 0.0625 } }')
    out = net.forward(x=x, rois=rois)
    np.testing.assert_allclose(out['y'], out['max'], rtol=2e-3)
    assert out['y'].shape == (5, 3, 1, 1) and not out['y'][4].any()
    assert windows(rois[:1], 5, 6, 0.0625) == [(0, slice(0, 3), slice(0, 3))]


@pytest.mark.parametrize('regions', [False, True])
def test_a_layer_learns_its_power(regions, make_net, tmp_path):
    """The gradients to maps and power are those of the loss, by finite differences."""
    x = sample(5, (2, 3, 4, 4)).astype(np.float32)
    rois = np.float32([[0, 0, 0, 2, 2], [1, 1, 0, 3, 3], [0, 1, 1, 3, 3]])      # two overlap
    text = ('force_backward: true ' + inputs(x=x.shape, rois=rois.shape, goal=(3 if regions else 2,
                                                                                3, 1, 1))
            + layer('GeMLayer', 'x rois' if regions else 'x', 'y', "{'p': 2.5}",
                    more='param { lr_mult: 10 decay_mult: 0 }')
            + 'layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "goal" top: "loss" }')
    net = make_net(text, caffe.TRAIN)
    assert net.params['GeMLayer'][0].data.tolist() == [2.5]

    def loss(x, p):
        maps = x if not regions else [x[0, :, :3, :3], x[1, :, :4, 1:], x[0, :, 1:, 1:]]
        return sum((naive(part[None], p) ** 2).sum() for part in maps) / 2 / len(maps)

    net.blobs['x'].data[...], net.blobs['rois'].data[...] = x, rois
    for _ in range(2):
        net.forward()
        net.clear_param_diffs()
        net.backward()
    x = x.astype(float)
    change = (loss(x, 2.5 + 1e-6) - loss(x, 2.5 - 1e-6)) / 2e-6
    assert net.params['GeMLayer'][0].diff[0] == pytest.approx(change, rel=1e-4)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = 1e-6
        change = (loss(x + step, 2.5) - loss(x - step, 2.5)) / 2e-6
        assert net.blobs['x'].diff[index] == pytest.approx(change, rel=1e-3, abs=1e-5)
    net.save(str(tmp_path / 'a.caffemodel'))
    assert [array.tolist() for array in nets.load_weights(tmp_path / 'a.caffemodel')['GeMLayer']] \
        == [[2.5]]
    assert param_count(nets.read_net(tmp_path / 'net.prototxt').layer[3]) == 1


def test_a_solver_moves_the_power(tmp_path):
    """lr_mult 0 stops it; without a lr_mult, one step subtracts base_lr times the gradient."""
    for rate, moves in ((1, True), (0, False)):
        text = ('layer { name: "x" type: "DummyData" top: "x" top: "goal" dummy_data_param { '
                'shape { dim: 1 dim: 1 dim: 2 dim: 2 } shape { dim: 1 dim: 1 dim: 1 dim: 1 } '
                'data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" } } }'
                + layer('GeMLayer', 'x', 'y', more=f'param {{ lr_mult: {rate} }}')
                + 'layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "goal" '
                  'top: "loss" }')
        (tmp_path / 'net.prototxt').write_text(text)
        (tmp_path / 'solver.prototxt').write_text(
            f'net: "{tmp_path}/net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1 '
            f'random_seed: 1 snapshot_after_train: false snapshot_prefix: "{tmp_path}/x"')
        solver = caffe.get_solver(str(tmp_path / 'solver.prototxt'))
        solver.step(1)
        power = solver.net.params['GeMLayer'][0]
        assert (power.data[0] != 3) == moves
        if moves:
            x = solver.net.blobs['x'].data.astype(float)
            y = naive(x, 3).item()
            gradient = y * (naive(x, 3 + 1e-6) - naive(x, 3 - 1e-6)).item() / 2e-6
            assert power.data[0] == pytest.approx(3 - 0.1 * gradient, rel=1e-5)


@pytest.mark.parametrize('param_str, words', [
    ("{'p': 0}", 'p must be a positive number, not 0'), ("{'p': '3'}", 'p must be'),
    ("{'eps': -1}", 'eps must be a positive number'), ("{'power': 3}", 'may have p, eps')])
def test_parameters_that_are_refused(param_str, words, make_net):
    with pytest.raises(ValueError, match=words):
        make_net(inputs(x=(1, 2, 3, 3)) + layer('GeMLayer', 'x', 'y', param_str))


def test_a_power_that_became_negative_is_named(make_net):
    net = make_net(inputs(x=(1, 2, 3, 3)) + layer('GeMLayer', 'x', 'y'))
    net.params['GeMLayer'][0].data[...] = -0.5
    with pytest.raises(ValueError, match='power has become -0.5'):
        net.forward()
