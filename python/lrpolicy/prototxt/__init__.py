"""Caffe's file formats as messages, and prototxt text with line numbers: what solver, net and caffemodel stand on.

`messages` holds the protobuf classes, loaded from a descriptor of our own into a pool of our own; `text` parses
prototxt and knows the line of every field. protobuf is imported here and in the packages beside it, nowhere else.
"""
