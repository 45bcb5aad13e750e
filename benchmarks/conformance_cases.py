"""What bench_conformance.py trains: nets of the zoo, each with the solvers that it is trained by."""

from __future__ import annotations

from dataclasses import dataclass

SGD = "momentum: 0.9 weight_decay: 0.0005"
FIXED = 'lr_policy: "fixed"'
# The epoch is not the data's, so that who counts it himself is found out. The rate moves after every fifth update.
TLR = 'lr_policy: "tlr" lr_policy_param { epoch: 100 window: 0.05'
# Tested often enough for three costs to be heard in the first 20 updates.
ASLR = 'lr_policy: "aslr" lr_policy_param { seed: 7 } test_iter: 1 test_interval: 5'
LENET = {
    "SGD, inv": f'base_lr: 0.01 lr_policy: "inv" gamma: 0.0001 power: 0.75 {SGD}',
    "Nesterov": f'base_lr: 0.01 {FIXED} type: "Nesterov" {SGD}',
    "AdaGrad": f'base_lr: 0.01 {FIXED} type: "AdaGrad" weight_decay: 0.0005',
    "RMSProp": f'base_lr: 0.001 {FIXED} type: "RMSProp" rms_decay: 0.98 weight_decay: 0.0005',
    "AdaDelta": f'base_lr: 1 {FIXED} type: "AdaDelta" momentum: 0.95 delta: 1e-6 weight_decay: 0.0005',
    "Adam": f'base_lr: 0.001 {FIXED} type: "Adam" momentum: 0.9 momentum2: 0.999',
    "iter_size 2": f"base_lr: 0.01 {FIXED} iter_size: 2 {SGD}",
    "clip_gradients": f"base_lr: 0.01 {FIXED} clip_gradients: 1 {SGD}",
    "L1": f'base_lr: 0.01 {FIXED} regularization_type: "L1" {SGD}',
    "tri2": f'base_lr: 0.001 max_lr: 0.02 lr_policy: "tri2" stepsize: 40 {SGD}',
    "tlr, gradient, per tensor": f'base_lr: 0.01 {TLR} source: "gradient" per_tensor: true bound: 0.05 }} {SGD}',
    "tlr, displacement": f'base_lr: 0.01 max_lr: 0.02 {TLR} source: "displacement" }} {SGD}',
    "aslr": f"base_lr: 0.001 {ASLR} {SGD}",
}
QUICK = {
    name: text.replace("base_lr: 0.01", "base_lr: 0.001")
    .replace("weight_decay: 0.0005", "weight_decay: 0.004")
    .replace('max_lr: 0.02 lr_policy: "tlr"', 'max_lr: 0.002 lr_policy: "tlr"')
    for name, text in LENET.items()
}
RESNET = {
    "SGD": f"base_lr: 0.01 {FIXED} momentum: 0.9 weight_decay: 0.0001",
    "Nesterov": f'base_lr: 0.01 {FIXED} type: "Nesterov" momentum: 0.9 weight_decay: 0.0001',
}
# With 4 images at 0.01 an ulp decides the losses; with 32 at 0.001 it decides less.
CALM_RESNET = {name: text.replace("base_lr: 0.01", "base_lr: 0.001") for name, text in RESNET.items()}
# All else at such rates with 4 images, for the time's sake.
RESNET_OTHERS = {
    name: text.replace("weight_decay: 0.004", "weight_decay: 0.0001").replace("max_lr: 0.02 ", "max_lr: 0.002 ")
    for name, text in QUICK.items()
    if name not in ("SGD, inv", "Nesterov")
}


@dataclass(frozen=True)
class Case:
    """A net of the zoo, its batch, and the fields of a solver."""

    net: str
    batch_size: int
    name: str
    solver: str

    @property
    def observes(self) -> bool:
        """Whether its policy observes the training, so that the rate too depends on it."""
        return any(f'lr_policy: "{policy}"' in self.solver for policy in ("tlr", "aslr"))

    def __str__(self) -> str:
        return f"{self.net}, batch {self.batch_size}, {self.name}"


CASES = [
    Case(net, batch_size, name, text)
    for net, batch_size, solvers in [
        ("mnist-lenet", 16, LENET),
        ("cifar10-quick", 4, QUICK),
        ("cifar10-cnn3", 4, QUICK),
        ("cifar10-resnet20", 4, RESNET | RESNET_OTHERS),
        ("cifar10-resnet20", 32, CALM_RESNET),
    ]
    for name, text in solvers.items()
]
