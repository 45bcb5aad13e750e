"""A net prototxt: read, brought to today's form, checked for names, and filtered by phase, level and stage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.net.layer_types import BLOCKS, FILLERS, WITHOUT_EFFECT, fillers, layer_type
from lrpolicy.net.upgrade import Origin, upgrade
from lrpolicy.prototxt import messages, text
from lrpolicy.prototxt.text import Document

Phase = Literal["TRAIN", "TEST"]


@dataclass(frozen=True)
class Net:
    """A net definition with all its phases.

    `message` is the NetParameter in today's form; `notes` says in full sentences what was upgraded or is ignored.
    """

    message: Any
    path: str
    notes: tuple[str, ...]
    _document: Document
    _origins: tuple[Origin, ...]

    @property
    def name(self) -> str:
        """The net's own name, or its file's name without suffix."""
        return str(self.message.name) or Path(self.path).stem

    @classmethod
    def parse(cls, source: str, path: str = "net.prototxt") -> Net:
        """A net from prototxt text; `path` is the name that messages show.

        Raises:
            InputError: not prototxt, a field, layer type or filler that is unknown, include and exclude together, or
                an old form that cannot be upgraded.
        """
        document = text.parse(source, messages.NetParameter(), path)
        return cls._from_document(document)

    @classmethod
    def from_message(cls, message: Any, path: str = "net.prototxt") -> Net:
        """A net from a NetParameter, such as a solver's `net_param`; raises as `parse` does, without lines."""
        copy = messages.NetParameter()
        copy.CopyFrom(message)
        return cls._from_document(Document(copy, path))

    @classmethod
    def _from_document(cls, document: Document) -> Net:
        for unknown in document.unknown:
            raise unknown.error(_reason(unknown))
        origins, notes = upgrade(document)
        if level := document.message.state.level:
            counts = f"level {level} counts here; `caffe train` takes the one of its option --level for the TRAIN phase"
            notes.append(f"{document.where('state', 'level')}: {counts}")
        if not document.message.layer:
            raise InputError("the net has no layers", where=document.path, remedy="is this a net prototxt?")
        net = cls(document.message, document.path, (), document, tuple(origins))
        for layer in net.message.layer:
            notes += net._check(layer)
        return cls(net.message, net.path, tuple(notes), document, net._origins)

    def where(self, layer: Any, *field: str | int) -> str:
        """ "file:line" of a layer of this net (a LayerParameter, found by equality) or of a field inside it."""
        for index, candidate in enumerate(self.message.layer):
            if candidate == layer:
                return self._document.where(*self._origins[index], *field)
        return self.path

    def for_state(self, phase: Phase = "TRAIN", level: int = 0, stages: Iterable[str] = ()) -> Any:
        """The NetParameter of the layers whose include and exclude rules the state meets (Caffe's Net::FilterNet).

        The net's own `state` stands between the phase given and `level` and `stages`, as in Caffe's solver.
        """
        state = messages.NetState(phase=phase)
        state.MergeFrom(self.message.state)
        if level:
            state.level = level
        state.stage.extend(stages)
        filtered = messages.NetParameter()
        filtered.CopyFrom(self.message)
        filtered.ClearField("layer")
        filtered.state.CopyFrom(state)
        filtered.layer.extend(layer for layer in self.message.layer if _is_included(layer, state))
        return filtered

    def _check(self, layer: Any) -> list[str]:
        """Check the names in one layer; returns notes on blocks that its type ignores and fields without effect."""
        try:
            known = layer_type(layer)
        except InputError as error:
            raise error.at(self.where(layer, "type")) from None
        if layer.include and layer.exclude:
            rule = f'layer "{layer.name}" has include and exclude rules; one kind is allowed'
            raise InputError(rule, where=self.where(layer, "exclude"))
        if layer.type == "HDF5Data" and layer.HasField("transform_param"):
            rule = f'layer "{layer.name}": HDF5Data takes no transform_param'
            remedy = "leave it out, or take a layer of type Data"
            raise InputError(rule, where=self.where(layer, "transform_param"), remedy=remedy)
        for field, filler in fillers(layer):
            if filler.type not in FILLERS:
                rule = f'layer "{layer.name}": filler "{filler.type}" is unknown'
                raise InputError(
                    rule, where=self.where(layer, *field, "type"), remedy=did_you_mean(filler.type, FILLERS)
                )
        ignored = [block for block in BLOCKS if layer.HasField(block) and block not in known.blocks]
        return [
            f'{self.where(layer, block)}: layer "{layer.name}" is of type {layer.type}, which ignores {block}'
            for block in ignored
        ] + [
            f'{self.where(layer, block, field)}: layer "{layer.name}": {field} has no effect: {why}'
            for (block, field), why in WITHOUT_EFFECT.items()
            if block in known.blocks and getattr(getattr(layer, block), field)
        ]


def read(path: str | Path) -> Net:
    """Read a net prototxt. Raises InputError as `Net.parse`, and for a file that cannot be read."""
    return Net.parse(text.read_text(path), str(path))


def _reason(unknown: text.UnknownField) -> str | None:
    if unknown.message == "NetParameter" and unknown.name in messages.SolverParameter.DESCRIPTOR.fields_by_name:
        return "this looks like a solver; a net is made of layer blocks"
    if unknown.message == "V0LayerParameter":
        return "nets of 2013 are not read; Caffe's tool upgrade_net_proto_text turns them into today's form"
    return None


def _is_included(layer: Any, state: Any) -> bool:
    if layer.include:
        return any(_meets(state, rule) for rule in layer.include)
    return not any(_meets(state, rule) for rule in layer.exclude)


def _meets(state: Any, rule: Any) -> bool:
    return not (
        (rule.HasField("phase") and rule.phase != state.phase)
        or (rule.HasField("min_level") and state.level < rule.min_level)
        or (rule.HasField("max_level") and state.level > rule.max_level)
        or any(stage not in state.stage for stage in rule.stage)
        or any(stage in state.stage for stage in rule.not_stage)
    )
