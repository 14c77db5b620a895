"""Replicas of fptq.LLM under Ray Serve, which spreads them over the machines of a Ray cluster, starts them anew
when they die, and gives each the requests that come to any.

  pip install "ray[serve]" fptq
  serve run ray_serve:app model=DIR replicas=2 threads=8     (in this file's folder)
  curl localhost:8000 -d '{"prompt": "The dog", "max_tokens": 16}'

A request may have what `fptq.LLM` knows of sampling. What a replica is asked at the same time runs in one batch.
"""

import fptq
from ray import serve
from starlette.requests import Request


@serve.deployment
class Completions:
    def __init__(self, model: str, threads: int) -> None:
        self.llm = fptq.LLM(model, threads=threads)

    async def __call__(self, request: Request) -> dict:
        options = await request.json()
        answer = await self.llm.agenerate(options.pop("prompt"), **options)
        return {
            "choices": [{"text": answer.text, "finish_reason": answer.finish_reason}],
            "usage": {"prompt_tokens": answer.prompt_tokens, "completion_tokens": len(answer.tokens),
                      "prompt_tokens_details": {"cached_tokens": answer.cached_tokens}},
        }


def app(arguments: dict[str, str]) -> serve.Application:
    threads = int(arguments["threads"])
    return Completions.options(
        num_replicas=int(arguments["replicas"]),
        ray_actor_options={"num_cpus": threads},
        max_ongoing_requests=64,
    ).bind(arguments["model"], threads)
