"""Hierarchical associative memory with any number of layers (page: book/memory/hierarchical.md)."""

from hopmix.memory.hierarchical.adaptive import solve
from hopmix.memory.hierarchical.adiabatic import lagging_velocity
from hopmix.memory.hierarchical.errors import NotConverged
from hopmix.memory.hierarchical.fixed_point import fixed_point
from hopmix.memory.hierarchical.layer import Layer
from hopmix.memory.hierarchical.memory import HierarchicalMemory
from hopmix.memory.hierarchical.operators import Dense, Kronecker, Operator
from hopmix.memory.hierarchical.retrieval import Retrieval
from hopmix.memory.hierarchical.state import State
from hopmix.memory.hierarchical.synapse import Synapse

__all__ = ["Layer", "Synapse", "Operator", "Dense", "Kronecker", "HierarchicalMemory", "State", "NotConverged", "solve", "lagging_velocity", "fixed_point", "Retrieval"]
