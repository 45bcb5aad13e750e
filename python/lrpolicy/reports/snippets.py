"""How to use a policy elsewhere: code that is ready to paste, for Caffe, PyTorch, JAX and Keras.

A policy's numbers are written so that they read back as the same doubles: what is pasted is what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

import numpy as np

from lrpolicy.policies import Policy
from lrpolicy.prototxt import messages
from lrpolicy.records import TrialSpec
from lrpolicy.solver.policy_fields import write_policy
from lrpolicy.stateful import AdaptivePolicy, AnyPolicy, Aslr, Plateau, Tlr

# What an unpatched Caffe knows.
_CAFFES_OWN = ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid")


def caffe(policy: AnyPolicy, spec: TrialSpec) -> str:
    """The lines of a solver prototxt: the policy, and the settings that it was measured with."""
    message = messages.SolverParameter()
    write_policy(message, policy)
    if not message.HasField("max_iter"):
        message.max_iter = spec.max_iter
    if isinstance(policy, AdaptivePolicy) and policy.info.feedback == "test loss":
        message.test_interval = spec.test_interval
    message.type = spec.optimizer
    if spec.momentum:
        message.momentum = spec.momentum
    if spec.weight_decay:
        message.weight_decay = spec.weight_decay
    patched = f'# "{policy.name}" needs a Caffe patched with lrpolicy (caffe_patch)\n'
    needs = "" if policy.name in _CAFFES_OWN else patched
    return f"{needs}# measured with batches of {spec.batch_size}\n{message}"


def pytorch(policy: Policy, spec: TrialSpec) -> str:
    """A PolicyLR; the optimizer's own lr has no part in its rates."""
    return f"""\
import torch
from lrpolicy import Policy
from lrpolicy.integrations.torch import PolicyLR

optimizer = torch.optim.SGD(model.parameters(), lr=1.0{_sgd(spec, "momentum", "weight_decay")})
scheduler = PolicyLR(optimizer, {_constructor(policy)})

# After every optimizer.step(), {spec.max_iter} times in all:
#     scheduler.step()
"""


def jax(policy: Policy, spec: TrialSpec) -> str:
    """An optax schedule: a function of the count of updates, which may be traced."""
    return f"""\
import optax
from lrpolicy import Policy
from lrpolicy.integrations.jax import PolicySchedule

schedule = PolicySchedule({_constructor(policy)}, iterations={spec.max_iter})
optimizer = {_optax(spec)}
"""


def keras(policy: Policy, spec: TrialSpec) -> str:
    """A LearningRateSchedule for Keras 3 and any of its backends; it can be saved with the model."""
    return f"""\
import keras
from lrpolicy import Policy
from lrpolicy.integrations.keras import PolicySchedule

schedule = PolicySchedule({_constructor(policy)}, iterations={spec.max_iter})
optimizer = keras.optimizers.SGD(learning_rate=schedule{_sgd(spec, "momentum", "weight_decay")})
"""


SNIPPETS: Mapping[str, Callable[[Policy, TrialSpec], str]] = MappingProxyType(
    {"Caffe": caffe, "PyTorch": pytorch, "JAX with optax": jax, "Keras": keras}
)


def pytorch_adaptive(policy: AdaptivePolicy, spec: TrialSpec) -> str | None:
    """The scheduler that hears what the policy observes; None where PyTorch cannot show it (TLR's variant naive)."""
    schedule = policy.schedule()
    if isinstance(schedule, Tlr):
        if schedule.variant == "naive":
            return None
        given = {name: value for name, value in policy.parameters.items() if name not in ("base_lr", "epoch")}
        settings = "".join(f", {name}={value!r}" for name, value in given.items())
        scheduler = f"TLR(optimizer, epoch_iterations={policy.parameters.get('epoch', 'len(loader)')}{settings})"
        imports = "from lrpolicy.integrations.torch import TLR"
        use = "optimizer.step() learns the rate; to see it:\n#     scheduler.get_last_lr()"
    elif isinstance(schedule, Aslr):
        scheduler = f"ASLR(optimizer, seed={schedule.seed})"
        imports = "from lrpolicy.integrations.torch import ASLR"
        use = f"After every {spec.test_interval} updates, with the validation loss:\n#     scheduler.step(loss)"
    else:
        scheduler = f"FeedbackLR(optimizer, {schedule!r})"
        kind = type(schedule).__name__
        imports = f"from lrpolicy.integrations.torch import FeedbackLR\nfrom lrpolicy.stateful import {kind}"
        often = f"every {spec.test_interval} updates, with the validation loss"
        if isinstance(schedule, Plateau):
            often = "every update, with the smoothed training loss"
        use = f"After {often}:\n#     scheduler.step(loss)"
    rate = _plain(cast(float, policy.parameters["base_lr"]))
    return f"""\
import torch
{imports}

optimizer = torch.optim.SGD(model.parameters(), lr={rate}{_sgd(spec, "momentum", "weight_decay")})
scheduler = {scheduler}

# {use}
"""


def snippets(policy: AnyPolicy, spec: TrialSpec) -> dict[str, str]:
    """The code for each framework by its name: for an adaptive policy, which needs feedback, Caffe and PyTorch."""
    if not isinstance(policy, AdaptivePolicy):
        return {name: write(policy, spec) for name, write in SNIPPETS.items()}
    written = {"Caffe": caffe(policy, spec), "PyTorch": pytorch_adaptive(policy, spec)}
    return {name: text for name, text in written.items() if text is not None}


def remark(spec: TrialSpec) -> str:
    """What a reader must know who trains elsewhere than where it was measured; empty where nothing differs."""
    notes = []
    if spec.optimizer != "SGD":
        notes.append(f"It was measured with Caffe's {spec.optimizer}; the other examples use SGD.")
    if spec.momentum and spec.momentum_convention == "caffe":
        notes.append(
            "It was measured with the rate inside the momentum history, as in Caffe. PyTorch, optax and Keras differ "
            "in this or in where weight decay enters: with a changing rate their trainings are close, not equal."
        )
    return " ".join(notes)


def _constructor(policy: Policy) -> str:
    return f"Policy({', '.join([_quoted(policy.name), *(f'{k}={v!r}' for k, v in policy.parameters.items())])})"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _sgd(spec: TrialSpec, *names: str) -> str:
    return "".join(f", {name}={_plain(getattr(spec, name))}" for name in names if getattr(spec, name))


def _plain(value: float) -> str:
    """A float32 setting as it was typed: 0.9, not 0.8999999761581421."""
    single = np.float32(value)
    return str(single if float(single) == value else value)


def _optax(spec: TrialSpec) -> str:
    sgd = f"optax.sgd(learning_rate=schedule{_sgd(spec, 'momentum')})"
    return f"optax.chain(optax.add_decayed_weights({_plain(spec.weight_decay)}), {sgd})" if spec.weight_decay else sgd
