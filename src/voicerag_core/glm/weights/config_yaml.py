"""Read the decoder's ``config.yaml``, which names classes to build, without building any.

The released file is written for hyperpyyaml, whose tags import and call what they name. Here a tag
is only text: the few tags of the released file are known, any other is refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from voicerag_core.errors import CheckpointError

__all__ = ["CLASS", "read_config_yaml"]

CLASS = "!new"
"""Key under which a mapping keeps the class that its tag named."""

CLASSES = frozenset(
    {
        "cosyvoice.flow.decoder.ConditionalDecoder",
        "cosyvoice.flow.flow.MaskedDiffWithXvec",
        "cosyvoice.flow.flow_matching.ConditionalCFM",
        "cosyvoice.flow.length_regulator.InterpolateRegulator",
        "cosyvoice.hifigan.f0_predictor.ConvRNNF0Predictor",
        "cosyvoice.hifigan.generator.HiFTGenerator",
        "cosyvoice.llm.llm.TransformerLM",
        "cosyvoice.transformer.encoder.BlockConformerEncoder",
        "cosyvoice.transformer.encoder.ConformerEncoder",
        "cosyvoice.transformer.encoder.TransformerEncoder",
        "omegaconf.DictConfig",
    }
)
CALLS = frozenset(
    {"numpy.random.seed", "random.seed", "torch.cuda.manual_seed_all", "torch.manual_seed"}
)
"""Seeds that the released file sets; they are passed over."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with the tags of the released file."""


def _new(loader: _Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    if name not in CLASSES or not isinstance(node, yaml.MappingNode):
        raise yaml.constructor.ConstructorError(
            problem=f"the tag !new:{name} is not one of the released file's",
            problem_mark=node.start_mark,
        )
    values = loader.construct_mapping(node, deep=True)
    return {CLASS: name, **{str(key): value for key, value in values.items()}}


def _apply(loader: _Loader, name: str, node: yaml.Node) -> None:
    if name not in CALLS:
        raise yaml.constructor.ConstructorError(
            problem=f"the tag !apply:{name} is not one of the released file's",
            problem_mark=node.start_mark,
        )


class _Reference(str):
    """The name of a value at the top of the file."""

    __slots__ = ()


def _reference(loader: _Loader, node: yaml.Node) -> _Reference:
    found = re.fullmatch(r"<(\w+)>", str(node.value))
    if found is None:
        raise yaml.constructor.ConstructorError(
            problem=f"!ref {node.value} is not of the form !ref <name>",
            problem_mark=node.start_mark,
        )
    return _Reference(found[1])


_Loader.add_multi_constructor("!new:", _new)
_Loader.add_multi_constructor("!apply:", _apply)
_Loader.add_constructor("!ref", _reference)
_Loader.add_implicit_resolver(  # YAML 1.1 takes 1e-06, which has no point, for text
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789")
)


def read_config_yaml(path: Path) -> dict[str, Any]:
    """Read the file; a mapping that a class was to be built from keeps its name under `CLASS`.

    Raises:
        CheckpointError: The file is missing, is not YAML, or has a tag or reference that the
            released one has not.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            values = yaml.load(stream, Loader=_Loader)  # noqa: S506 - a SafeLoader
        if not isinstance(values, dict):
            raise CheckpointError(f"{path} holds no mapping of names to values")
        resolved: dict[str, Any] = _resolved(values, values)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    except KeyError as error:
        raise CheckpointError(f"{path} refers to {error}, which it does not define") from error
    return resolved


def _resolved(value: Any, top: dict[str, Any]) -> Any:  # noqa: ANN401 - any YAML value
    """Put values in the place of references to them."""
    if isinstance(value, _Reference):
        target = top[str(value)]
        if isinstance(target, dict | list | _Reference):
            raise ValueError(f"!ref <{value}> does not refer to a plain value")
        return target
    if isinstance(value, dict):
        return {name: _resolved(one, top) for name, one in value.items()}
    if isinstance(value, list):
        return [_resolved(one, top) for one in value]
    return value
