"""Files that others can run: a trained run as ONNX, Keras, PyTorch or a web page."""
