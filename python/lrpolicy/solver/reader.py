"""A Caffe solver: read from prototxt, checked, changed to another policy, written."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from google.protobuf import text_format

from lrpolicy import net
from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.prototxt import files, messages, text
from lrpolicy.prototxt.text import Document
from lrpolicy.solver import rules
from lrpolicy.solver.policy_fields import FOREIGN_FIELDS, read_policy, take_foreign, write_policy
from lrpolicy.stateful import AnyPolicy

ForeignFields = Literal["error", "warn"]


@dataclass(frozen=True)
class Solver:
    """A solver that obeys every rule.

    `message` is the SolverParameter (Caffe's defaults apply to what the file leaves out), `policy` its learning-rate
    policy, `notes` says in full sentences which aliases were taken and what is ignored.
    """

    message: Any
    path: str
    policy: AnyPolicy
    notes: tuple[str, ...]
    _document: Document

    @classmethod
    def parse(cls, source: str, path: str = "solver.prototxt", *, foreign_fields: ForeignFields = "error") -> Solver:
        """A solver from prototxt text; `path` is the name that messages show.

        A field that Caffe does not have is an error, or with foreign_fields="warn" a note; `start_lr_policy` and
        `plateau_winsize` are read as lr_policy_param's.

        Raises:
            InputError: not prototxt, an unknown field, policy or value, a missing field, a broken rule.
        """
        document = text.parse(source, messages.SolverParameter(), path)
        notes = []
        for unknown in document.unknown:
            if (note := take_foreign(document.message, unknown)) is not None:
                notes.append(note)
                continue
            error = unknown.error(FOREIGN_FIELDS.get(unknown.name))
            if foreign_fields == "error":
                raise error
            notes.append(f"{unknown.where}: {error.rule}; ignored")
        return cls._from_document(document, notes)

    @classmethod
    def _from_document(cls, document: Document, notes: list[str]) -> Solver:
        policy, more = read_policy(document)
        rules.check(document)
        return cls(document.message, document.path, policy, (*notes, *more, *rules.notes(document)), document)

    def where(self, *field: str | int) -> str:
        """ "file:line" of a field, for errors about its value."""
        return self._document.where(*field)

    @property
    def solver_type(self) -> str:
        """SGD, Nesterov, AdaGrad, RMSProp, AdaDelta or Adam."""
        return rules.solver_type(self.message)

    @property
    def net_path(self) -> Path | None:
        """The training net's file, or None where the solver holds the net itself.

        A relative path is looked for as Caffe does, from the working directory, then from the solver's folder and the
        folders above it. Raises InputError where it is nowhere.
        """
        for field in ("net", "train_net"):
            if self.message.HasField(field):
                return self._find(getattr(self.message, field), self.where(field))
        return None

    @property
    def snapshot_prefix(self) -> str:
        """snapshot_prefix as Caffe completes it: the solver's path without suffix, inside the folder given, if any."""
        prefix = str(self.message.snapshot_prefix)
        if not prefix:
            return str(Path(self.path).with_suffix(""))
        return str(Path(prefix) / Path(self.path).stem) if Path(prefix).is_dir() else prefix

    @property
    def batch_size(self) -> int:
        """How many examples one pass of the training net takes: the first axis of its data layer's first top.

        An update takes iter_size times as many. Raises InputError as `train_net`, and for a net without data layer.
        """
        whole = self.train_net()
        for layer in self.train_parameter().layer:
            if layer.type in net.DATA_TYPES:
                return int(getattr(layer, net.LAYER_TYPES[layer.type].blocks[0]).batch_size)
            if not layer.bottom:
                tops = net.top_shapes(layer, [])
                return tops[0][0] if tops and tops[0] else 1
        raise InputError("the training net has no data layer", where=whole.path)

    def train_net(self) -> net.Net:
        """The training net, with all its phases. Raises InputError as `lrpolicy.net.read`."""
        for field in ("net_param", "train_net_param"):
            if self.message.HasField(field):
                return net.Net.from_message(getattr(self.message, field), self.path)
        return net.read(self.net_path or "")

    def test_nets(self) -> tuple[net.Net, ...]:
        """One net for each test_iter, in Caffe's order: test_net_param, test_net, then the training net's."""
        found = [net.Net.from_message(message, self.path) for message in self.message.test_net_param]
        for index, name in enumerate(self.message.test_net):
            found.append(net.read(self._find(name, self.where("test_net", index))))
        remaining = len(self.message.test_iter) - len(found)
        return (*found, *[self.train_net()] * remaining) if remaining else tuple(found)

    def train_parameter(self) -> Any:
        """The training net's NetParameter, filtered by the solver's train_state."""
        return _filtered(self.train_net(), "TRAIN", self.message.train_state)

    def test_parameters(self) -> tuple[Any, ...]:
        """The test nets' NetParameters, filtered by the solver's test_state."""
        states = list(self.message.test_state) or [messages.NetState()] * len(self.message.test_iter)
        return tuple(_filtered(tested, "TEST", state) for tested, state in zip(self.test_nets(), states, strict=True))

    def with_policy(self, policy: AnyPolicy, **fields: Any) -> Solver:
        """The same solver with another policy, and with other fields replaced, such as `max_iter=4000`.

        Floats become float32. Raises InputError for an unknown field, a wrong type, or a rule that is then broken.
        """
        message = messages.SolverParameter()
        message.CopyFrom(self.message)
        write_policy(message, policy)
        for name, value in fields.items():
            _set_field(message, name, value)
        return Solver._from_document(Document(message, self.path), [])

    def to_text(self) -> str:
        """The solver as prototxt, in the order of proto/caffe.proto; reading it gives an equal message."""
        out = io.StringIO()
        for field in self.message.DESCRIPTOR.fields:
            value = getattr(self.message, field.name)
            repeated = messages.is_repeated(field)
            if not repeated and not self.message.HasField(field.name):
                continue
            for item in value if repeated else [value]:
                text_format.PrintField(field, item, out)
        return out.getvalue()

    def write(self, path: str | Path) -> None:
        """Write the prototxt, whole or not at all. Raises InputError (no such folder) or RunError (a full disk)."""
        files.write_bytes(path, self.to_text().encode())

    def _find(self, name: str, place: str) -> Path:
        folder = Path(self.path).absolute().parent
        for candidate in (Path(name), *(above / name for above in (folder, *folder.parents))):
            if candidate.is_file():
                return candidate
        raise InputError(f'the net file "{name}" is neither in {Path.cwd()} nor beside the solver', where=place)


def read(path: str | Path, *, foreign_fields: ForeignFields = "error") -> Solver:
    """Read a solver prototxt. Raises InputError as `Solver.parse`, and for a file that cannot be read."""
    return Solver.parse(text.read_text(path), str(path), foreign_fields=foreign_fields)


def _filtered(whole: net.Net, phase: net.Phase, state: Any) -> Any:
    if state.HasField("phase"):
        phase = "TRAIN" if state.phase == messages.TRAIN else "TEST"
    return whole.for_state(phase, state.level, state.stage)


def _set_field(message: Any, name: str, value: Any) -> None:
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise InputError(
            f'a solver has no field "{name}"', remedy=did_you_mean(name, message.DESCRIPTOR.fields_by_name)
        )
    try:
        message.ClearField(name)
        if messages.is_repeated(field):
            getattr(message, name).extend(value)
        elif field.message_type:
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot take this value: {error}", got=repr(value)) from None
