"""A net of one InnerProduct, as text."""
INPUT = '''
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param {
        num_output: 2 weight_filler { type: "gaussian" } } }
'''
