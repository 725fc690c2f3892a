"""The networks: pure modules without training code, each built from a configuration of plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import nn


class NetworkConfig(Protocol):
    """What every network's configuration has: a frozen dataclass that can build its network."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def build(self, image_size: tuple[int, int], channels: int, classes: int) -> nn.Module:
        """The network, with fresh weights from torch's global generator."""
        ...


def configs() -> dict[str, type[NetworkConfig]]:
    """The registry of networks, by name. A new network is one file and one line here."""
    from rung.models.fast import FastConfig
    from rung.models.ladder import DeepConfig, NaiveConfig, StagesConfig
    from rung.models.pretrained import PretrainedConfig

    known: tuple[type[NetworkConfig], ...] = (FastConfig, NaiveConfig, DeepConfig, StagesConfig, PretrainedConfig)
    return {config.name: config for config in known}


def network_config(values: dict[str, Any]) -> NetworkConfig:
    """A configuration from the plain values of a recipe: its fields and the network's ``name``.

    Raises:
        KeyError: no network has that name.
        TypeError: a field is missing, unknown or of the wrong type.
    """
    fields = {name: _tuples(value) for name, value in values.items() if name != "name"}
    return configs()[values["name"]](**fields)


def _tuples(value: Any) -> Any:
    """JSON has lists where frozen dataclasses have tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
