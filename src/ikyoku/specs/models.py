"""Models that a job asks or tunes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from ikyoku.specs.base import Flag, Integer, Label, Number, Spec


class EndpointSpec(Spec):
    """A server with OpenAI's API, inside the hospital: vLLM, llama.cpp, Ollama."""

    served: str = Field(min_length=1)
    """Name under which the server serves the model."""
    concurrency: Integer = Field(default=16, ge=1, le=1024)
    """Requests under way at a time."""
    requests_per_minute: Number | None = Field(default=None, gt=0)
    """Most requests in a minute, no limit by default."""
    attempts: Integer = Field(default=8, ge=1, le=100)
    """How often one question is sent before the run stops; waits grow up to a minute."""
    timeout: Number = Field(default=600, gt=0)
    """Seconds until a request counts as failed."""
    api_key_variable: str | None = Field(default=None, min_length=1)
    """Environment variable with the server's key. The key itself is never in a spec."""


class ModelSpec(Spec):
    """A model: a folder in Hugging Face's layout, a hub id or a server, with an optional adapter on it."""

    path: str = Field(min_length=1)
    """Folder of a model, a hub id that the local cache holds, or with `endpoint` a server's address ending in /v1."""
    adapter: str | None = None
    """Folder of a PEFT adapter."""
    label: Label | None = None
    """How tables name the model; by default the folder's name, with the adapter's."""
    endpoint: EndpointSpec | None = None
    """The model runs on a server at `path`."""
    training_data: tuple[str, ...] = ()
    """Files that the model was tuned on, for the contamination check; of ikyoku's own adapters they are known."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights; auto is bfloat16 on a GPU, float32 on a CPU."""
    quantization: Literal["none", "nf4", "int8"] = "none"
    """nf4: 4-bit NormalFloat with double quantisation (QLoRA's format); int8: LLM.int8()."""
    trust_remote_code: Flag = False
    """Run Python code that comes with the model. Recorded in the run's provenance."""

    @property
    def name(self) -> str:
        """The label, or one made of the folder's names or of the server's name for the model."""
        if self.label:
            return self.label
        if self.endpoint:
            return self.endpoint.served
        base = Path(self.path).name or self.path
        base = base if self.quantization == "none" else f"{base} ({self.quantization})"
        return f"{base}+{Path(self.adapter).name}" if self.adapter else base

    @model_validator(mode="after")
    def _fits_together(self) -> ModelSpec:
        server = self.path.startswith(("http://", "https://"))
        if server and not self.endpoint:
            raise ValueError("a server's address needs endpoint: {served: NAME} beside it")
        if self.endpoint and not server:
            raise ValueError("with endpoint, path is the server's address, such as http://localhost:8000/v1")
        if self.endpoint and (self.adapter or self.quantization != "none" or self.dtype != "auto"):
            raise ValueError("adapter, dtype and quantization are the server's own concern; leave them out")
        return self
