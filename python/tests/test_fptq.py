"""The Python module, on the tiny models of testdata/models."""

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import fptq

MODELS = Path(__file__).resolve().parents[2] / "testdata" / "models"
FLOAT = MODELS / "tiny-llama-f32"
QUANTIZED = MODELS / "tiny-llama-w4a8"
TEXT = "The quick brown fox jumps over the lazy dog. " * 8
FAST = {"calibration": "random", "calibration_tokens": 512}


@pytest.fixture(scope="module")
def llm():
    return fptq.LLM(QUANTIZED, threads=2)


def test_quantize_writes_what_runs(tmp_path):
    seen = []
    summary = fptq.quantize(
        FLOAT, tmp_path / "out", settings=FAST, progress=lambda *args: seen.append(args)
    )
    assert 4 < summary.bits_per_weight < 5.1
    assert seen and all(done <= total for _, done, total in seen)
    report = json.loads(summary.report_json)
    assert len(report["policy"] if "policy" in report else report) > 0
    divergence = fptq.compare(tmp_path / "out", FLOAT, TEXT)
    assert 0 < divergence.kl.value < 1
    assert divergence.model.tokens == divergence.reference.tokens > 0
    same = fptq.perplexity(tmp_path / "out", TEXT)
    assert same.perplexity.value == divergence.model.perplexity.value


def test_quantize_refuses_an_output_that_exists(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(fptq.Error, match=str(tmp_path)):
        fptq.quantize(FLOAT, tmp_path, settings=FAST, replace=True)
    assert (tmp_path / "mine").read_text() == "x"


def test_errors_have_kinds(tmp_path):
    with pytest.raises(fptq.FileError, match="nowhere"):
        fptq.LLM(tmp_path / "nowhere")
    with pytest.raises(fptq.InputError, match="group_size"):
        fptq.quantize(FLOAT, tmp_path / "o", settings={"group_size": 33})
    with pytest.raises(fptq.InputError, match="no_such"):
        fptq.quantize(FLOAT, tmp_path / "o", settings={"no_such": 1})
    with pytest.raises(ValueError):
        fptq.plan(FLOAT, settings={"calibration_tokens": -5})


def test_progress_cancels_and_raises(tmp_path):
    with pytest.raises(fptq.CancelledError):
        fptq.quantize(FLOAT, tmp_path / "a", settings=FAST, progress=lambda *_: False)

    def fail(*_):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fptq.quantize(FLOAT, tmp_path / "b", settings=FAST, progress=fail)
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_plan_explains_each_site():
    sites = fptq.plan(FLOAT, settings=FAST)
    assert {"layer", "site", "range", "choice", "reason"} <= set(sites[0])
    assert all(site["range"] > 0 for site in sites)


def test_tokens_and_text(llm):
    tokens = llm.encode("The dog", prefix=False)
    assert llm.decode(tokens).strip() == "The dog"
    assert llm.info.vocab > max(tokens)
    assert llm.info.quantized and not fptq.LLM(FLOAT).info.quantized


def test_batches_give_what_each_prompt_gives_alone(llm):
    prompts = [f"{n} times the dog" for n in range(12)]
    options = {"temperature": 1.0, "seed": 7, "max_tokens": 24, "log_probabilities": 2}
    together = llm.generate(prompts, **options)
    fresh = fptq.LLM(QUANTIZED, threads=1, prefix_cache=False)
    for prompt, answer in zip(prompts, together):
        alone = fresh.generate(prompt, **options)
        assert alone.tokens == answer.tokens
        assert [s.log_probability for s in alone.scores] == [
            s.log_probability for s in answer.scores
        ]
        assert all(len(s.top) == 2 for s in alone.scores)
    assert len({tuple(answer.tokens) for answer in together}) > 1


def test_streams_give_the_whole_text(llm):
    options = {"temperature": 0, "max_tokens": 16}
    whole = llm.generate("the dog", **options).text
    assert "".join(llm.stream("the dog", **options)) == whole

    async def collect():
        return "".join([text async for text in llm.astream("the dog", **options)])

    assert asyncio.run(collect()) == whole


def test_dropping_a_stream_cancels(llm):
    stream = llm.submit("the dog", max_tokens=100, ignore_eos=True)
    stream.next()
    stream.cancel()
    assert stream.collect().finish_reason in ("cancelled", "length")


def test_scores_are_numpy_and_agree_with_perplexity():
    llm = fptq.LLM(FLOAT)
    tokens = llm.encode(TEXT, special=False)[:60]
    scores = llm.score(tokens)
    assert scores.dtype == np.float64 and scores.shape == (60,)
    assert math.isnan(scores[0]) and (scores[1:] < 0).all()
    both = llm.score([tokens, tokens[:30]])
    assert np.array_equal(both[1][1:], scores[1:30]) and np.array_equal(both[0][1:], scores[1:])


def test_requests_of_several_threads_run_together(llm):
    answers = {}

    def ask(n):
        answers[n] = llm.generate(f"{n} dogs", temperature=0, max_tokens=8).tokens

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {
        n: llm.generate(f"{n} dogs", temperature=0, max_tokens=8).tokens for n in range(8)
    }


def test_unknown_sampling_options_are_named(llm):
    with pytest.raises(fptq.InputError, match="temprature"):
        llm.generate("the dog", temprature=1)
    with pytest.raises(fptq.InputError, match="temperature"):
        llm.generate("the dog", temperature=-1)
    with pytest.raises(fptq.InputError):
        llm.generate("the dog " * 5000)


def test_ctrl_c_ends_a_quantization(tmp_path):
    script = (
        "import fptq, sys\n"
        "fptq.quantize(sys.argv[1], sys.argv[2], settings={'calibration_tokens': 200000,"
        " 'calibration': 'random'}, progress=lambda *a: print(*a, flush=True))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, FLOAT, tmp_path / "o"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline()
    os.kill(process.pid, signal.SIGINT)
    started = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert time.monotonic() - started < 20
    assert not (tmp_path / "o").exists()


def test_help_describes_the_public_names():
    for name in fptq.__all__:
        value = getattr(fptq, name)
        if name in ("quantize", "plan", "perplexity", "compare", "LLM", "recipe_names"):
            assert value.__doc__ and len(value.__doc__) > 20
