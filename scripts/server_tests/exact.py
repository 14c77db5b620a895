"""The same request many times, alone and under a random load, with the prefix cache on, off, evicting, and with sequences set
aside because pages run out: always the same text and the same log-probabilities, bit for bit."""

import asyncio
import random

import openai

from harness import Server, check, wait_until

LOAD = 32
TOKENS = 24


def client_of(server, kind):
    return kind(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=900)


def wanted(model):
    text = "Tell me about the history of lighthouses, " + "and of the people who kept them, " * 20 + "in short."
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": TOKENS, "temperature": 0.8,
            "seed": 11, "logprobs": True, "top_logprobs": 2}


def bits(answer):
    choice = answer.choices[0]
    tokens = [(t.token, t.logprob, [(x.token, x.logprob) for x in t.top_logprobs]) for t in choice.logprobs.content]
    return choice.message.content, tokens


async def noise(client, model, stop, seed, longest):
    """Requests of all kinds, one after the other; some are left in the middle."""
    some = random.Random(seed)
    while not stop.is_set():
        words = [some.choice(["sea", "ship", "storm", "light", "rock"]) for _ in range(some.randint(1, 150))]
        stream = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": " ".join(words)}], stream=True, temperature=1,
            seed=some.randint(0, 1000), max_tokens=some.randint(longest // 2, longest), extra_body={"ignore_eos": True})
        left = some.random() < 0.3  # in the middle
        async for _ in stream:
            if stop.is_set() or (left and some.random() < 2 / longest):
                break
        await stream.close()


async def under_load(server, model, requests, longest):
    async with client_of(server, openai.AsyncOpenAI) as client:
        stop, found = asyncio.Event(), []
        noisy = [asyncio.create_task(noise(client, model, stop, i, longest)) for i in range(LOAD)]
        while len(found) < requests:
            some = [client.chat.completions.create(**wanted(model)) for _ in range(4)]
            found += [bits(answer) for answer in await asyncio.gather(*some)]
        stop.set()
        await asyncio.gather(*noisy)
        return found


def run(fptq, model_folder, requests):
    context = ["--context", "1024", "--max-sequences", "40"]
    with Server(fptq, model_folder, *context) as server:
        model = server.call("/v1/models").json()["data"][0]["id"]
        client = client_of(server, openai.OpenAI)
        reference = bits(client.chat.completions.create(**wanted(model)))
        alone = [bits(client.chat.completions.create(**wanted(model))) for _ in range(requests)]
        check(f"exact: alone, {requests} times", all(one == reference for one in alone), reference[0])
        page_bytes = memory_of_a_page(fptq, model_folder, context)
    # The others begin with one to three pages each. With 150 pages there is no room to keep what they leave. With 40, and
    # answers of 4 to 8 pages, a dozen of them run, and have to give way to each other before the first one ends.
    settings = {"the cache on": ([], 120), "the cache off": (["--no-prefix-cache"], 120),
                "a cache that evicts": (["--kv-memory", 150 * page_bytes], 120),
                "too few pages": (["--kv-memory", 40 * page_bytes], 500)}
    for name, (options, longest) in settings.items():
        with Server(fptq, model_folder, *context, *options) as server:
            found = asyncio.run(under_load(server, model, requests, longest))
            equal = sum(one == reference for one in found)
            cached, aside = server.metric("fptq_cached_tokens_total"), server.metric("fptq_preemptions_total")
            detail = f"{equal} of {len(found)}; {cached:.0f} tokens cached, {aside:.0f} times set aside"
            check(f"exact: among {LOAD} others, {name}", equal == len(found) >= requests, detail)
            check(f"exact: {name}: it was so", (cached == 0) == (options == ["--no-prefix-cache"])
                  and (aside > 0 or name != "too few pages"), detail)
            check(f"exact: {name}: nothing is left", wait_until(lambda: server.running() == 0, 10)
                  and server.metric("fptq_kv_pages_free") == server.metric("fptq_kv_pages"))


def memory_of_a_page(fptq, model_folder, context):
    """From how many pages a known memory has."""
    known = 256 << 20
    with Server(fptq, model_folder, *context, "--kv-memory", known) as server:
        return int(known / server.metric("fptq_kv_pages"))
