"""The schedulers where other programs drive them: several processes, torch.compile, Lightning, Accelerate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch_support import batch, sgd, small_net

from lrpolicy.errors import InputError
from lrpolicy.integrations.torch import ASLR, TLR, FeedbackLR, PolicyLR
from lrpolicy.policies import Policy
from lrpolicy.stateful import DecaySequence

TRI2 = Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=7)
quiet_compiler = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


def trained(kind: str, rank: int, processes: int) -> list[float]:
    """The rates of 30 updates in double precision, each process with its share of every batch."""
    net: nn.Module = small_net().double()
    if processes > 1:
        net = nn.parallel.DistributedDataParallel(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    schedulers: dict[str, Any] = {
        "displacement": lambda: TLR(optimizer, 9),
        "gradient": lambda: TLR(optimizer, 9, source="gradient"),
        "per tensor": lambda: TLR(optimizer, 9, per_tensor=True),
        "aslr": lambda: ASLR(optimizer, 4),
        "policy": lambda: PolicyLR(optimizer, TRI2),
    }
    scheduler, rates = schedulers[kind](), []
    for t in range(30):
        x, y = (part.double()[rank::processes] for part in batch(t))
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
        rates += [group["lr"] for group in optimizer.param_groups]
        if kind != "aslr":
            scheduler.step()
    return rates


KINDS = ("displacement", "gradient", "per tensor", "aslr", "policy")


def worker(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.save({kind: trained(kind, rank, 2) for kind in KINDS}, f"{folder}/{rank}")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_two_processes() -> list[dict[str, list[float]]]:
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(worker, args=(folder,), nprocs=2)
        return [torch.load(Path(folder) / str(rank), weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_give_the_trace_of_one(kind: str, of_two_processes: list[dict[str, list[float]]]) -> None:
    first, second = (rates[kind] for rates in of_two_processes)
    assert first == second
    assert first == pytest.approx(trained(kind, 0, 1), rel=1e-9)
    assert len(set(first)) > 5


@quiet_compiler
@pytest.mark.parametrize("shape", ["update and scheduler", "optimizer alone"])
def test_a_compiled_step_with_a_rate_in_a_tensor_is_not_compiled_again(shape: str) -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=torch.tensor(1.0), momentum=0.9)
    scheduler = PolicyLR(optimizer, TRI2)
    update = torch.compile(optimizer.step, backend=counter)

    def both() -> None:
        optimizer.step()
        scheduler.step()

    together = torch.compile(both, backend=counter)
    compiled, rates = [], []
    for _ in range(40):
        net(torch.ones(2, 6)).sum().backward()
        rates.append(optimizer.param_groups[0]["lr"].item())
        if shape == "optimizer alone":
            update()
            scheduler.step()
        else:
            together()
        compiled.append(counter.frame_count)
    assert compiled[3:] == [compiled[3]] * 37
    assert rates == torch.from_numpy(TRI2.rates(range(40))).float().tolist()


@quiet_compiler
def test_tlr_learns_beside_a_compiled_net() -> None:
    rates = []
    for compiled in (False, True):
        net = small_net().double()
        forward = torch.compile(net, backend="eager") if compiled else net
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        TLR(optimizer, 9)
        for t in range(20):
            x, y = batch(t)
            optimizer.zero_grad()
            nn.functional.mse_loss(forward(x.double()), y.double()).backward()
            optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == rates[1] != 0.01


@quiet_compiler
def test_an_optimizer_whose_step_was_replaced_is_refused_with_the_remedy() -> None:
    """meta-pytorch/torchtune pull request 2681: PyTorch's own schedulers die of a missing __func__ there."""
    optimizer = sgd()
    optimizer.step = torch.compile(optimizer.step)  # type: ignore[method-assign]
    with pytest.raises(InputError, match="before you compile"):
        PolicyLR(optimizer, TRI2)


def lightning_run(
    folder: Path, make: Any, *, stop: int, checkpoint: str | None = None, **config: Any
) -> tuple[Any, Any]:
    """What a LightningModule with this scheduler saw: the rate of every update, and the module."""
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = small_net()
            self.rates: list[float] = []

        def training_step(self, pair: Any, index: int) -> torch.Tensor:
            loss = nn.functional.mse_loss(self.net(pair[0]), pair[1])
            self.log("loss", loss)
            return loss

        def on_before_zero_grad(self, optimizer: torch.optim.Optimizer) -> None:
            self.rates.append(optimizer.param_groups[0]["lr"])

        def configure_optimizers(self) -> Any:
            self.optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
            self.scheduler = make(self.optimizer)
            return {"optimizer": self.optimizer, "lr_scheduler": {"scheduler": self.scheduler, **config}}

    data = torch.utils.data.TensorDataset(*(torch.cat(parts) for parts in zip(*map(batch, range(5)), strict=True)))
    module = Module()
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=stop, default_root_dir=folder, enable_checkpointing=False, **options)
    trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=16), ckpt_path=checkpoint)
    trainer.save_checkpoint(folder / f"{stop}.ckpt")
    return module.rates, module


quiet_lightning = pytest.mark.filterwarnings("ignore")


@quiet_lightning
def test_lightning_steps_a_policy_and_resumes_it(tmp_path: Path) -> None:
    rates, _ = lightning_run(tmp_path, lambda o: PolicyLR(o, TRI2), stop=2, interval="step")
    more, module = lightning_run(
        tmp_path, lambda o: PolicyLR(o, TRI2), stop=4, interval="step", checkpoint=str(tmp_path / "2.ckpt")
    )
    assert [*rates, *more] == TRI2.rates(range(20)).tolist()
    assert module.scheduler.last_epoch == 20


@quiet_lightning
@pytest.mark.parametrize("source", ["displacement", "gradient"])
def test_lightning_lets_tlr_learn(tmp_path: Path, source: str) -> None:
    """Its optimizer steps take closures."""
    rates, module = lightning_run(tmp_path, lambda o: TLR(o, 6, source=source), stop=4, interval="step")
    assert module.scheduler.iteration == 20
    assert len(set(rates)) > 5


@quiet_lightning
def test_lightning_takes_a_scheduler_of_losses_for_reduce_on_plateau(tmp_path: Path) -> None:
    seq3 = DecaySequence("seq3", "by_epoch", base_lr=0.5)
    config = {"monitor": "loss", "reduce_on_plateau": True, "interval": "epoch"}
    rates, _ = lightning_run(tmp_path, lambda o: FeedbackLR(o, seq3), stop=3, **config)
    assert rates == pytest.approx([0.5] * 5 + [0.45] * 5 + [0.405] * 5)


@quiet_lightning
@pytest.mark.parametrize("processes", [1, 3])
def test_accelerate_steps_a_policy_with_the_optimizer(processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of the scheduler for each process, and none for a batch that is only accumulated."""
    accelerate = pytest.importorskip("accelerate", reason="Accelerate is not installed")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    monkeypatch.setitem(accelerate.state.PartialState._shared_state, "num_processes", processes)
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    net, optimizer, scheduler = accelerator.prepare(net, optimizer, PolicyLR(optimizer, TRI2))
    rates = []
    for t in range(12):
        with accelerator.accumulate(net):
            optimizer.zero_grad()
            accelerator.backward(net(batch(t)[0]).square().mean())
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    assert rates[::2] == rates[1::2] == TRI2.rates(range(0, 6 * processes, processes)).tolist()
    assert scheduler.get_last_lr() == [TRI2.rate(6 * processes)]


@quiet_lightning
def test_accelerate_lets_tlr_count_updates_only() -> None:
    accelerate = pytest.importorskip("accelerate", reason="Accelerate is not installed")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    tlr = TLR(optimizer, 3)
    net, optimizer, scheduler = accelerator.prepare(net, optimizer, tlr)
    for t in range(12):
        with accelerator.accumulate(net):
            optimizer.zero_grad()
            accelerator.backward(net(batch(t)[0]).square().mean())
            optimizer.step()
            scheduler.step()
    assert (tlr.iteration, tlr.state.windows) == (6, 6)


@pytest.mark.parametrize("make", [lambda optimizer: TLR(optimizer, 3), ASLR])
def test_a_prepared_optimizer_is_refused_with_the_remedy(make: Callable[[Any], Any]) -> None:
    accelerate = pytest.importorskip("accelerate", reason="Accelerate is not installed")
    optimizer = accelerate.Accelerator(cpu=True).prepare(sgd(2))
    groups = list(optimizer.param_groups)
    with pytest.raises(InputError, match=r"got AcceleratedOptimizer, which has none; make .*before acc"):
        make(optimizer)
    assert optimizer.param_groups == groups
    make(optimizer.optimizer)
