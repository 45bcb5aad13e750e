"""The residual nets for CIFAR-10 of He et al. (arXiv:1512.03385, section 4.2) as Caffe prototxt.

Depth 6n + 2: one convolution, three stages of n blocks with 16, 32 and 64 channels, average pooling, 10 classes. Where
a stage halves the image, a 1 x 1 convolution takes the shortcut (option B). The shipped files are this module's output:

    python -m lrpolicy.zoo.resnet 32 > cifar10_resnet32_train_test.prototxt
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

_HEADER = """\
# ResNet-{depth} for CIFAR-10 (He et al., arXiv:1512.03385), written by lrpolicy.zoo.resnet.
# Training images are padded by 4 zeros on each side and cropped at random; the mean of the padded images is zero
# there, so that the border stays zero after it is subtracted.
name: "cifar10_resnet{depth}"
layer {{
  name: "cifar"
  type: "Data"
  top: "data"
  top: "label"
  include {{ phase: TRAIN }}
  transform_param {{ crop_size: 32 mirror: true mean_file: "cifar10_pad4_mean.binaryproto" }}
  data_param {{ source: "cifar10_train_pad4_lmdb" batch_size: 128 backend: LMDB }}
}}
layer {{
  name: "cifar"
  type: "Data"
  top: "data"
  top: "label"
  include {{ phase: TEST }}
  transform_param {{ mean_file: "cifar10_mean.binaryproto" }}
  data_param {{ source: "cifar10_test_lmdb" batch_size: 100 backend: LMDB }}
}}
"""

_FOOTER = """\
layer { name: "pool" type: "Pooling" bottom: "%s" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer {
  name: "ip"
  type: "InnerProduct"
  bottom: "pool"
  top: "ip"
  param { lr_mult: 1 decay_mult: 1 }
  param { lr_mult: 1 decay_mult: 0 }
  inner_product_param { num_output: 10 weight_filler { type: "msra" } }
}
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def resnet(depth: int) -> str:
    """The train and test net of a depth 6n + 2, as prototxt."""
    lines = [_HEADER.format(depth=depth), *_convolution("conv1", "data", 16, 3, 1), _relu("conv1")]
    last, channels = "conv1", 16
    for stage in range(3):
        for block in range((depth - 2) // 6):
            name, stride = f"stage{stage + 1}_block{block + 1}", 2 if stage and not block else 1
            channels *= stride
            lines += _block(name, last, channels, stride)
            last = name
    return "".join([*lines, _FOOTER % last])


def _block(name: str, bottom: str, channels: int, stride: int) -> Iterator[str]:
    yield from _convolution(f"{name}_a", bottom, channels, 3, stride)
    yield _relu(f"{name}_a")
    yield from _convolution(f"{name}_b", f"{name}_a", channels, 3, 1)
    if stride > 1:
        yield from _convolution(f"{name}_shortcut", bottom, channels, 1, stride)
        bottom = f"{name}_shortcut"
    yield f'layer {{ name: "{name}" type: "Eltwise" bottom: "{bottom}" bottom: "{name}_b" top: "{name}" }}\n'
    yield _relu(name)


def _convolution(name: str, bottom: str, channels: int, kernel: int, stride: int) -> Iterator[str]:
    """A convolution without bias, then BatchNorm and Scale in place."""
    yield f"""layer {{
  name: "{name}"
  type: "Convolution"
  bottom: "{bottom}"
  top: "{name}"
  convolution_param {{
    num_output: {channels} kernel_size: {kernel} stride: {stride} pad: {kernel // 2}
    bias_term: false weight_filler {{ type: "msra" }}
  }}
}}
"""
    yield f'layer {{ name: "{name}_bn" type: "BatchNorm" bottom: "{name}" top: "{name}" }}\n'
    scale = "scale_param { bias_term: true }"
    yield f'layer {{ name: "{name}_scale" type: "Scale" bottom: "{name}" top: "{name}" {scale} }}\n'


def _relu(name: str) -> str:
    return f'layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'


if __name__ == "__main__":
    sys.stdout.write(resnet(int(sys.argv[1])))
