"""Nets of layers that are Python classes of the tests."""
INPUT = '''force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 2 } } }
'''


def layer(cls, name, bottom='', top='', param_str='', more='', more_python=''):
    return (f'layer {{ name: "{name}" type: "Python" '
            + ''.join(f'bottom: "{blob}" ' for blob in bottom.split())
            + ''.join(f'top: "{blob}" ' for blob in top.split())
            + f"{more} python_param {{ module: '{cls.__module__}' layer: '{cls.__name__}' "
              f"param_str: '{param_str}' {more_python} }} }}\n")
