"""Configuration, agents and presets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ralph_loop import protocol as p
from ralph_loop.engine import reading
from ralph_loop.lsp.registry import request

if TYPE_CHECKING:
    from ralph_loop.lsp.session import Session


@request("ralph/config/list", reads=True)
async def config_list(session: Session, params: p.NoParams) -> p.ConfigValues:
    return p.ConfigValues(values=session.engine.settings.values())


@request("ralph/config/get", reads=True)
async def config_get(session: Session, params: p.ConfigKeyParams) -> p.ConfigValue:
    return p.ConfigValue(value=session.engine.settings.read(params.key))


@request("ralph/config/set")
async def config_set(session: Session, params: p.ConfigSetParams) -> p.Empty:
    await session.engine.settings.set(params.key, params.value)
    return p.Empty()


@request("ralph/config/delete")
async def config_delete(session: Session, params: p.ConfigKeyParams) -> p.Empty:
    await session.engine.settings.delete(params.key)
    return p.Empty()


@request("ralph/config/explain", reads=True)
async def config_explain(session: Session, params: p.ConfigExplainParams) -> p.ConfigExplanation:
    return p.ConfigExplanation(values=await reading.explain(session.engine, params, session.client))


@request("ralph/config/backends", reads=True)
async def config_backends(session: Session, params: p.NoParams) -> p.Backends:
    engine = session.engine
    binaries = engine.starter.binaries(session.client)
    return p.Backends(backends=await engine.backends.list(session.client.env, binaries.get))


@request("ralph/config/presets", reads=True)
async def config_presets(session: Session, params: p.OptionalWorkspaceParams) -> p.Presets:
    return p.Presets(presets=await reading.presets(session.engine, params.workspace))
