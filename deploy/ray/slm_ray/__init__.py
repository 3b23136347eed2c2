"""slm on Ray: `python -m slm_ray` runs a whole job, `Answers` is a stage of your own Ray Data pipeline."""

from .engine import Engine, EngineError, Task
from .stage import Answers, Described, describe

__all__ = ["Answers", "Described", "Engine", "EngineError", "Task", "describe"]
