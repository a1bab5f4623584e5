"""From an ONNX file to a trainable model.

Every tensor of the file gets a symbolic value (``values``) while the nodes are walked in topological order (``load``):
a known array, whose elements may be sizes of axes; or tensors of the model together with how the file lays them out,
so that Transpose, Reshape, Squeeze and the like become nothing. What does not fit is refused by the node's name.
"""
