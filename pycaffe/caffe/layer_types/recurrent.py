"""Recurrent layers: LSTM, RNN.

x is T x N x ..., T steps of N streams; cont, T x N, is 0 where a sequence begins and 1 where it
continues. At step 0 a stream continues from the final state of the last forward.
"""

import math

import torch
import torch.nn.functional as F

from ..errors import CaffeError
from ..gradient import with_gradient
from ..layer import TensorLayer, register


class Recurrent(TensorLayer):
    """Bottoms x, cont and optionally x_static (N x ..., for every step); top T x N x num_output.

    With `expose_hidden`, the states before step 0, each 1 x N x num_output, are further bottoms,
    and those after the last step further tops. As in Caffe, no gradient passes through them.
    """
    gates = 1           # rows of W_x and W_h per output
    num_states = 1      # arrays that a step passes to the next
    static_item = ()    # shape of an item of x_static

    def __init__(self, layer_param, phase):
        super().__init__(layer_param, phase)
        self.param = layer_param.recurrent_param
        self.exposed = self.num_states if self.param.expose_hidden else 0
        self.bottom_count = 2 + self.exposed, 3 + self.exposed
        self.top_count = 1 + self.exposed, 1 + self.exposed
        self.has_static = 'static' in self.parameters(layer_param)
        self.no_gradient = 1, *range(2 + self.has_static, 2 + self.has_static + self.exposed)

    @classmethod
    def parameters(cls, layer_param):
        """Return the names: W_x, b, W_static if there is x_static, and W_h."""
        exposed = cls.num_states * layer_param.recurrent_param.expose_hidden
        return ['x', 'b', *['static'] * (len(layer_param.bottom) > 2 + exposed), 'h']

    def setup(self, bottom, top):
        size, x = self.param.num_output, bottom[0].shape
        if size < 1:
            raise CaffeError('num_output is missing')
        if len(x) < 3:
            raise CaffeError(f'x must be T x N x ..., not {x}')
        if self.has_static and len(bottom[2].shape) < 2:
            raise CaffeError(f'x_static must be N x ..., not {bottom[2].shape}')
        self.num_steps, self.item = x[0], x[2:]
        rows, weights = self.gates * size, self.param.weight_filler
        if self.has_static:
            self.static_item = bottom[2].shape[1:]
        self.add_blobs(x=((rows, math.prod(x[2:])), weights), b=((rows,), self.param.bias_filler),
                       static=((rows, math.prod(self.static_item)), weights),
                       h=((rows, size), weights), o=((size, size), weights),
                       b_o=((size,), self.param.bias_filler))
        # states x streams x num_output: at the start of the last forward, and of the next one
        self.begin = self.carry = torch.zeros(self.num_states, 0, size)

    def shape(self, x, cont, *others):
        streams = x[1] if len(x) > 1 else 0     # an x with fewer axes is refused below
        state = (1, streams, self.param.num_output)
        names = ['x', 'cont'] + ['x_static'] * self.has_static + ['state'] * self.exposed
        wanted = [(self.num_steps, streams, *self.item), (self.num_steps, streams)]
        wanted += [(streams, *self.static_item)] if self.has_static else []
        wanted += [state] * self.exposed
        for name, shape, right in zip(names, (x, cont, *others), wanted, strict=True):
            if shape != right:
                raise CaffeError(f'{name} has the shape {shape}, not {right}')
        return [(self.num_steps, streams, self.param.num_output), *[state] * self.exposed]

    def forward(self, bottom, top):
        self.begin = self.carry
        super().forward(bottom, top)

    def compute(self, x, cont, *others):
        streams = x.shape[1]
        inputs = F.linear(x.flatten(2), self.weight(0), self.weight(1))
        if self.has_static:
            inputs = inputs + F.linear(others[0].flatten(1), self.weight(2))
        states = torch.cat(others[-self.exposed:]).detach() if self.exposed else self.resume(x)
        recurrent = self.weight(2 + self.has_static)
        hidden = []
        for row, mark in zip(inputs, cont[:, :, None], strict=True):
            states = self.step(row + F.linear(states[0] * mark, recurrent), states, mark)
            hidden.append(states[0])
        last = torch.stack(states).detach()
        # with fewer streams than before, the remaining ones keep their states
        self.carry = torch.cat((last, self.begin[:, streams:].to(last)), 1)
        return self.output(torch.stack(hidden)), *last[:self.exposed, None]

    def resume(self, x):
        """Return the final states of the last forward, with zeros for additional streams."""
        streams = x.shape[1]
        if self.begin.shape[1] < streams:
            return x.new_zeros(self.num_states, streams, self.param.num_output)
        return self.begin[:, :streams].to(x)

    def step(self, inputs, states, mark):
        """Return the states after a step, h first. inputs: N x rows, mark: N x 1 of cont."""
        raise NotImplementedError

    def output(self, hidden):
        """Return the top, T x N x num_output, given h of every step."""
        return hidden


@register
class RNN(Recurrent):
    """h_t = tanh(W_x x_t + b + W_static x_static + W_h cont_t h_(t-1)); y_t = tanh(W_o h_t + b_o).

    W_o and b_o are the last parameters.
    """

    @classmethod
    def parameters(cls, layer_param):
        return [*super().parameters(layer_param), 'o', 'b_o']

    def step(self, inputs, states, mark):
        return [torch.tanh(inputs)]

    def output(self, hidden):
        return torch.tanh(F.linear(hidden, self.weight(-2), self.weight(-1)))


def lstm_unit(c, gates, mark):
    """Return c and h (N x D) after a step, given c, the gates i, f, o, g (N x 4D) and cont (N x 1).
    """
    i, f, o, g = gates.chunk(4, 1)
    forget = mark * torch.sigmoid(f)
    # for a cont between 0 and 1, Caffe's gradient is not the true derivative
    forget = with_gradient(forget, f * (forget * (1 - forget)).detach())
    c = forget * c + torch.sigmoid(i) * torch.tanh(g)
    return c, torch.sigmoid(o) * torch.tanh(c)


@register
class LSTM(Recurrent):
    """The gates are W_x x_t + b + W_static x_static + W_h cont_t h_(t-1), in the order i, f, o, g.

    c_t = cont_t sigmoid(f) c_(t-1) + sigmoid(i) tanh(g); y_t = h_t = sigmoid(o) tanh(c_t).
    The states are h, c.
    """
    gates = 4
    num_states = 2

    def step(self, inputs, states, mark):
        c, h = lstm_unit(states[1], inputs, mark)
        return [h, c]


@register
class LSTMUnit(TensorLayer):
    """One step of LSTM: bottoms c (1 x N x D), gates (1 x N x 4D), cont (1 x N); tops c and h."""
    repeatable = True
    bottom_count = (3, 3)
    top_count = (2, 2)
    no_gradient = (2,)

    def shape(self, c, gates, cont):
        if len(c) != 3 or c[0] != 1 or gates != (1, c[1], 4 * c[2]) or cont != c[:2]:
            raise CaffeError(f'c, gates and cont must be 1 x N x D, 1 x N x 4D and 1 x N, '
                             f'not {c}, {gates} and {cont}')
        return [c, c]

    def compute(self, c, gates, cont):
        return tuple(top[None] for top in lstm_unit(c[0], gates[0], cont[0][:, None]))
