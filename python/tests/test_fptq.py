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
import urllib.request
from collections import Counter
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
    assert summary.report == fptq.Report.read(tmp_path / "out")
    assert summary.sites == dict(Counter(site.scheme for site in summary.report.sites))
    assert {linear.name for linear in summary.report.linears} == set(fptq.linear_names(FLOAT))
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
    assert [(site.layer, site.site) for site in sites[:5]] == [
        (0, "attn_in"), (0, "attn_out"), (0, "mlp_in"), (0, "mlp_mid"), (1, "attn_in"),
    ]  # fmt: skip
    assert all(site.range == site.channel_maxima[-1] and site.reason for site in sites)


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
    assert asyncio.run(llm.agenerate("the dog", **options)).text == whole


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


@pytest.fixture
def start_python():
    """Starts processes that take SIGINT, which jobs in the background of a shell ignore."""
    processes = []

    def start(script, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()


def test_ctrl_c_ends_a_quantization(start_python, tmp_path):
    script = (
        "import fptq, sys\n"
        "fptq.quantize(sys.argv[1], sys.argv[2], settings={'calibration_tokens': 200000,"
        " 'calibration': 'random'}, progress=lambda *a: print(*a, flush=True))\n"
    )
    process = start_python(script, FLOAT, tmp_path / "o")
    assert process.stdout.readline()
    os.kill(process.pid, signal.SIGINT)
    started = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert time.monotonic() - started < 20
    assert not (tmp_path / "o").exists()


def test_ctrl_c_ends_waiting_for_an_answer(start_python):
    script = (
        "import fptq, sys\n"
        "llm = fptq.LLM(sys.argv[1])\n"
        "print(1, flush=True)\n"
        "while True: llm.generate(['a'] * 999, ignore_eos=True, max_tokens=200, temperature=0)\n"
    )
    process = start_python(script, QUANTIZED)
    assert process.stdout.readline()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors


def test_other_threads_of_python_run_meanwhile(llm):
    counted, over = [0], threading.Event()

    def count():
        while not over.is_set():
            counted[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    llm.generate(["the dog"] * 64, temperature=0, max_tokens=64, ignore_eos=True)
    before = counted[0]
    llm.embed(["the dog " * 20] * 64)
    over.set()
    thread.join()
    assert 0 < before < counted[0]


def test_prompts_are_texts_lists_or_arrays(llm):
    tokens = llm.encode("the dog")
    options = {"temperature": 0, "max_tokens": 8}
    expected = llm.generate("the dog", **options).tokens
    for prompt in (tokens, np.array(tokens), np.array(tokens, np.uint16), Tensor(tokens)):
        assert llm.generate(prompt, **options).tokens == expected
    for answer in llm.generate(np.array([tokens, tokens]), **options):
        assert answer.tokens == expected
    for bad in (np.array([0.5]), [2**40], [[[1]]], [-1]):
        with pytest.raises(fptq.InputError, match="tokens"):
            llm.generate(bad, **options)
    with pytest.raises(fptq.InputError):
        llm.generate([], **options) or llm.generate(np.array([], np.int32), **options)


class Tensor:
    """What a tensor of torch looks like to NumPy."""

    def __init__(self, values):
        self.values, self.ndim = values, 1

    def __array__(self, *args, **kwargs):
        return np.array(self.values, np.int64)


def test_embeddings(llm):
    texts = ["the dog", "a cat sat on the mat", "the dog"]
    for pooling in ("mean", "last"):
        vectors = llm.embed(texts, pooling=pooling)
        assert vectors.dtype == np.float32 and vectors.shape == (3, llm.info.hidden)
        assert np.array_equal(vectors[0], vectors[2]) and not np.array_equal(vectors[0], vectors[1])
        assert np.array_equal(llm.embed(texts[1], pooling=pooling), vectors[1])
    with pytest.raises(fptq.InputError, match="pooling"):
        llm.embed(texts, pooling="first")
    with pytest.raises(fptq.CancelledError):
        llm.embed(texts, progress=lambda *_: False)


def test_weights_of_a_quantized_model_are_near_those_of_the_float_one(tmp_path):
    fptq.quantize(FLOAT, tmp_path / "o", recipe="rtn", settings=FAST | {"equalization": "none"})
    for name in fptq.linear_names(FLOAT):
        exact, rounded = fptq.weights(FLOAT, name), fptq.weights(tmp_path / "o", name)
        assert exact.dtype == rounded.dtype == np.float32 and exact.shape == rounded.shape
        assert 0 < np.linalg.norm(exact - rounded) < 0.2 * np.linalg.norm(exact)
    with pytest.raises(fptq.InputError, match="q_proj"):
        fptq.weights(FLOAT, "no.such.linear")


def test_activations_are_what_the_ranges_come_from():
    sites = fptq.activations(FLOAT, settings=FAST, sample_rows=10**9)
    plan = fptq.plan(FLOAT, settings=FAST | {"rounding": "rtn"})
    assert [(s.layer, s.site) for s in sites] == [(p.layer, p.site) for p in plan]
    for found, planned in zip(sites, plan):
        assert found.sample.shape == (found.rows, len(found.absmax)) and found.rows >= 512
        assert np.array_equal(np.abs(found.sample).max(axis=0), found.absmax)
        # float32 of what was summed in doubles
        assert np.allclose((found.sample**2.0).mean(axis=0), found.mean_squares, rtol=1e-6)
        assert found.absmax.max() == np.float32(planned.range)
    assert fptq.activations(FLOAT, settings=FAST)[0].sample.shape[0] == 0


def test_calibration_by_sequences_of_the_caller(tmp_path):
    tokenizer = fptq.Tokenizer(FLOAT)
    texts = ["the dog sat " * 9, "a cat " * 20]
    tokens = [np.array(tokenizer.encode(text)) for text in texts]
    by_text = fptq.activations(FLOAT, calibration=iter(texts))
    by_tokens = fptq.activations(FLOAT, calibration=tokens)
    assert by_text[0].rows == sum(map(len, tokens))
    for a, b in zip(by_text, by_tokens):
        assert np.array_equal(a.absmax, b.absmax)
    done = fptq.quantize(FLOAT, tmp_path / "o", calibration=tokens, settings={"rounding": "rtn"})
    assert done.report.recipe["calibration"] == "given"
    assert done.report.calibration_tokens == by_text[0].rows
    with pytest.raises(fptq.InputError, match="sequence 1"):
        fptq.plan(FLOAT, calibration=[[5], [5] * 10000])
    with pytest.raises(fptq.InputError, match="given"):
        fptq.plan(FLOAT, calibration="given")


def test_rounding_by_a_function_of_the_caller(tmp_path):
    settings = FAST | {"equalization": "none", "weight_bits": 4}
    seen = {}

    def round_to_powers_of_two(linear):
        if linear.name != target:
            return None
        seen[linear.name] = linear
        n, k = linear.weights.shape
        groups = linear.weights.reshape(n, k // linear.group_size, linear.group_size)
        scales = 2.0 ** np.ceil(np.log2(np.abs(groups).max(axis=2) / 7))
        q = np.clip(np.rint(groups / scales[:, :, None]), -8, 7)
        return q.reshape(n, k), scales

    names = fptq.linear_names(FLOAT)
    target = names[3]
    plain = fptq.quantize(FLOAT, tmp_path / "plain", recipe="rtn", settings=settings)
    custom = fptq.quantize(
        FLOAT, tmp_path / "custom", recipe="rtn", settings=settings,
        rounding=round_to_powers_of_two,
    )  # fmt: skip
    assert list(seen) == [target] and seen[target].gram.size == 0
    q, scales = round_to_powers_of_two(seen[target])
    expected = q * np.repeat(scales, seen[target].group_size, axis=1)
    assert np.array_equal(fptq.weights(tmp_path / "custom", target), expected.astype(np.float32))
    for name in names:
        same = np.array_equal(
            fptq.weights(tmp_path / "plain", name), fptq.weights(tmp_path / "custom", name)
        )
        assert same == (name != target)
    errors = [{x.name: x.weight_error for x in done.report.linears} for done in (plain, custom)]
    assert errors[1][target] > errors[0][target]  # scales are coarser


def test_rounding_by_a_function_has_zero_points(tmp_path):
    seen = {}

    def round_from_the_least(linear):
        assert not linear.symmetric
        n, k = linear.weights.shape
        groups = linear.weights.reshape(n, k // linear.group_size, linear.group_size)
        low, high = groups.min(axis=2).clip(max=0), groups.max(axis=2).clip(min=0)
        scales = 2.0 ** np.ceil(np.log2((high - low) / 14))  # of 15 steps one is for rounding
        zeros = -8 - np.rint(low / scales)
        q = np.clip(np.rint(groups / scales[:, :, None]) + zeros[:, :, None], -8, 7)
        expected = (q - zeros[:, :, None]) * scales[:, :, None]
        seen[linear.name] = expected.reshape(n, k).astype(np.float32)
        return q.reshape(n, k), scales, zeros

    settings = FAST | {"equalization": "none", "rounding": "rtn", "symmetric": False}
    fptq.quantize(FLOAT, tmp_path / "o", settings=settings, rounding=round_from_the_least)
    assert list(seen) == fptq.linear_names(FLOAT)
    for name, expected in seen.items():
        assert np.array_equal(fptq.weights(tmp_path / "o", name), expected)


def test_rounding_that_is_wrong_is_refused(tmp_path):
    def fails(rounding, error, match):
        with pytest.raises(error, match=match):
            fptq.quantize(FLOAT, tmp_path / "o", settings=FAST, rounding=rounding)
        assert not (tmp_path / "o").exists() and not (tmp_path / "o.partial").exists()

    def zeros(x, q=0, scale=1.0, columns=None):
        n, k = x.weights.shape
        return np.full((n, columns or k), q), np.full((n, k // x.group_size), scale)

    fails(lambda x: 1 / 0, ZeroDivisionError, "division")
    fails(lambda x: zeros(x, q=8), fptq.InputError, "q_proj.*-8 to 7, found 8")
    fails(lambda x: zeros(x, q=300), ValueError, "q_proj")
    fails(lambda x: zeros(x, scale=0.0), fptq.InputError, "scales other than 0")
    fails(lambda x: zeros(x, columns=5), fptq.InputError, "q_proj")
    points = lambda x, value: np.full_like(zeros(x)[1], value)
    fails(lambda x: (*zeros(x), points(x, 8)), fptq.InputError, "zero points from -8 to 7, found 8")
    fails(lambda x: (*zeros(x), points(x, 0)[:1]), fptq.InputError, "zero points, found")
    fails(lambda x: (*zeros(x), points(x, 300)), ValueError, "zero points")


def test_server_answers(llm):
    with fptq.Server(QUANTIZED, port=0, llm={"threads": 1}) as server:
        body = {"prompt": "the dog", "temperature": 0, "max_tokens": 8}
        request = urllib.request.Request(
            server.url + "/v1/completions", json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        answer = json.load(urllib.request.urlopen(request))
        assert answer["model"] == QUANTIZED.name
        text = llm.generate("the dog", temperature=0, max_tokens=8).text
        assert answer["choices"][0]["text"] == text
        server.drain()
        server.wait()


def test_module_is_light():
    script = "import sys, fptq; print([m for m in ('asyncio', 'tqdm', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_describes_the_public_names():
    for name in fptq.__all__:
        assert getattr(fptq, name).__doc__, name
        if not isinstance(getattr(fptq, name), type):
            continue
        for attribute, value in vars(getattr(fptq, name)).items():
            if callable(value) and not attribute.startswith("_"):
                assert value.__doc__, f"{name}.{attribute}"


def test_types_are_there():
    folder = Path(fptq.__file__).parent
    assert (folder / "py.typed").exists()
    stubs = (folder / "_fptq.pyi").read_text()
    assert "class LLM" in stubs and "def quantize" in stubs
