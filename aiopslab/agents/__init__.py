"""The agent protocol, loading of agents, and the built-in ones."""

from aiopslab.agents.builtins import Noop, Oracle
from aiopslab.agents.delegating import DelegatingTrial
from aiopslab.agents.loading import AgentLoader, as_agent, known, load
from aiopslab.agents.protocol import ActionAgent, Agent, TrialHandle
from aiopslab.agents.spec import AgentSpec, ArgSpec, ModelSettings
from aiopslab.agents.upstream import UpstreamAgent

__all__ = [
    "ActionAgent",
    "Agent",
    "AgentLoader",
    "AgentSpec",
    "ArgSpec",
    "DelegatingTrial",
    "ModelSettings",
    "Noop",
    "Oracle",
    "TrialHandle",
    "UpstreamAgent",
    "as_agent",
    "known",
    "load",
]
