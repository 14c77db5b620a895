"""Mixed load for a long time, with clients that vanish: memory has to stay where it is, and no error may come that the client
did not cause."""

import asyncio
import collections
import json
import random
import statistics
import time

import openai

from harness import Server, check, wait_until

CLIENTS = 24
TIMEOUT = 900  # seconds, of those that are not impatient: the machine may be busy
# Room for some ten contexts: the cache is full, and evicts, before memory is looked at.
OPTIONS = ["--max-sequences", "16", "--context", "1024", "--kv-memory", 128 << 20]
WARM_UP = 0.25  # of the time, in which memory may grow


async def leave_in_the_middle(port, some):
    """Sends a part of a request, or all of it, and is gone without a word."""
    body = json.dumps({"prompt": "The sea " * 100, "max_tokens": 100, "stream": some.random() < 0.5}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request[: some.choice([0, 10, len(head) + 20, len(request)])])
    await asyncio.sleep(some.uniform(0, 0.5))
    writer.transport.abort()


async def one_request(client, model, some):
    """One of all kinds of requests; what became of it."""
    words = " ".join(some.choice(["sea", "ship", "storm", "light", "rock", "gull"]) for _ in range(some.randint(1, 400)))
    prefix = "You keep a lighthouse. " * some.choice([0, 0, 20, 60])
    messages = [{"role": "system", "content": prefix}] * bool(prefix) + [{"role": "user", "content": words}]
    options = {"model": model, "max_tokens": some.randint(1, 120), "temperature": some.choice([0, 0.7, 1.5]),
               "seed": some.randint(0, 10**6)}
    kind = some.choice(["chat", "chat", "stream", "stream", "vanish", "completion", "echo", "impatient", "wrong", "many", "gone"])
    try:
        if kind == "gone":
            await leave_in_the_middle(client.base_url.port, some)
            return kind
        if kind == "chat":
            await client.chat.completions.create(messages=messages, logprobs=True, top_logprobs=some.randint(0, 5), **options)
        elif kind in ("stream", "vanish"):
            stream = await client.chat.completions.create(messages=messages, stream=True, **options)
            left = some.randint(0, 30) if kind == "vanish" else 10**6
            async for _ in stream:
                left -= 1
                if left < 0:
                    break
            await stream.close()
        elif kind == "completion":
            await client.completions.create(prompt=[words, words[:50]], n=some.randint(1, 3), stop=["\n\n", "sea"], **options)
        elif kind == "echo":
            await client.completions.create(prompt=words, echo=True, logprobs=1, **(options | {"max_tokens": 0}))
        elif kind == "impatient":
            await client.with_options(timeout=some.uniform(0.01, 0.5)).chat.completions.create(messages=messages, **options)
        elif kind == "wrong":
            await client.chat.completions.create(messages=messages, **(options | {"temperature": -1}))
            return "wrong: accepted"
        else:
            await client.chat.completions.create(messages=messages, n=some.randint(2, 4), **options)
        return kind
    except openai.BadRequestError as error:
        return kind if kind == "wrong" else f"{kind}: {error}"
    except openai.APITimeoutError:
        return kind if kind == "impatient" else f"{kind}: time-out"
    except openai.APIError as error:
        return f"{kind}: {type(error).__name__}: {error}"


async def load(server, model, seconds, pause, memory):
    end = time.monotonic() + seconds
    outcomes = collections.Counter()

    async def client_loop(client, seed):
        some = random.Random(seed)
        while time.monotonic() < end:
            outcomes[await one_request(client, model, some)] += 1
            await asyncio.sleep(some.uniform(0, 2 * pause))

    async def watch():
        begun = time.monotonic()
        while time.monotonic() < end:
            memory.append((time.monotonic() - begun, server.memory()))
            if len(memory) % 60 == 0:
                print(f"   {memory[-1][0] / 60:.0f} min, {memory[-1][1] / 2**20:.1f} MiB, {sum(outcomes.values())} requests", flush=True)
            await asyncio.sleep(min(5, seconds / 100))

    descriptors = server.descriptors()
    async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=TIMEOUT) as client:
        await asyncio.gather(watch(), *[client_loop(client, i) for i in range(CLIENTS)])
    check("soak: no connection is left", wait_until(lambda: server.descriptors() <= descriptors, 20),
          f"{descriptors} descriptors, then {server.descriptors()}")
    return outcomes


def run(fptq, model_folder, minutes, pause, threads):
    with Server(fptq, model_folder, *OPTIONS, *(["--threads", threads] if threads else [])) as server:
        model = server.call("/v1/models").json()["data"][0]["id"]
        memory = []
        outcomes = asyncio.run(load(server, model, 60 * minutes, pause, memory))
        strange = {outcome: count for outcome, count in outcomes.items() if ":" in outcome}
        check(f"soak: {sum(outcomes.values())} requests, no error that the client did not cause", not strange,
              strange or dict(outcomes))
        after = [value for at, value in memory if at >= WARM_UP * 60 * minutes]
        third = max(1, len(after) // 3)
        early, late = statistics.median(after[:third]), statistics.median(after[-third:])
        check("soak: memory grows by less than 1 % after warming up", late < 1.01 * early,
              f"{early / 2**20:.1f} MiB, then {late / 2**20:.1f} MiB ({100 * (late / early - 1):+.2f} %)")
        check("soak: nothing is left", wait_until(lambda: server.running() == 0, 20)
              and server.metric("fptq_kv_pages_free") == server.metric("fptq_kv_pages"))
