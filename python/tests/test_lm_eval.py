"""lm-eval-harness with fptq.lm_eval: what `fptq eval` and `fptq.LLM` say of the same documents."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fptq

if subprocess.run([sys.executable, "-c", "import lm_eval"], capture_output=True).returncode != 0:
    pytest.skip("lm_eval is not installed", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
MODEL = Path(os.environ.get("FPTQ_TEST_MODEL", ROOT / "testdata/models/tiny-llama-w4a8"))
FPTQ = os.environ.get("FPTQ_BINARY")
DOCUMENTS = [
    {
        "context": f"The dog number {i} says",
        "choices": [" that it barks.", f" nothing of {i * 7}.", " woof", " a word or two, and more"],
        "label": i % 4,
        "text": f"Dog {i} ran. " * (1 + i * i),
    }
    for i in range(12)
]
TASKS = {
    "choice": """
output_type: multiple_choice
doc_to_text: "{{context}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{label}}"
target_delimiter: ""
metric_list: [{metric: acc}]
""",
    "rolling": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}]
""",
    "continue": """
output_type: generate_until
doc_to_text: "{{context}}"
doc_to_target: ""
generation_kwargs: {until: ["."], max_gen_toks: 16, do_sample: false}
metric_list: [{metric: exact_match}]
""",
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """By task, the harness's records, by document."""
    work = tmp_path_factory.mktemp("lm_eval")
    (work / "documents.jsonl").write_text("".join(json.dumps(d) + "\n" for d in DOCUMENTS))
    for name, task in TASKS.items():
        (work / f"{name}.yaml").write_text(
            f"task: fptq_{name}\ndataset_path: json\nvalidation_split: validation\n"
            "dataset_kwargs: {data_files: {validation: documents.jsonl}}\n" + task
        )
    command = [sys.executable, "-m", "fptq.lm_eval", "run", "--model", "fptq", "--model_args"]
    command += [f"pretrained={MODEL},threads=2", "--include_path", work, "--log_samples"]
    command += ["--tasks", ",".join(f"fptq_{name}" for name in TASKS), "--output_path", work / "out"]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(work / "hf")}
    done = subprocess.run(
        list(map(str, command)), cwd=work, env=os.environ | offline, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = {}
    for name in TASKS:
        (path,) = (work / "out").rglob(f"samples_fptq_{name}_*.jsonl")
        rows = sorted(map(json.loads, path.read_text().splitlines()), key=lambda r: r["doc_id"])
        found[name] = [row["filtered_resps"] for row in rows]
    return found


@pytest.fixture(scope="module")
def llm():
    return fptq.LLM(MODEL, threads=2, context=-1)


@pytest.mark.skipif(not FPTQ, reason="FPTQ_BINARY does not say where fptq is")
def test_choices_are_those_of_fptq_eval(samples, tmp_path):
    with gzip.open(tmp_path / "piqa.0shot.jsonl.gz", "wt") as file:
        for doc_id, document in enumerate(DOCUMENTS):
            for idx, choice in enumerate(document["choices"]):
                request = {"context": document["context"], "continuation": choice}
                row = {"doc_id": doc_id, "idx": idx, "label": document["label"], "request": request}
                file.write(json.dumps(row) + "\n")
    details = tmp_path / "details.jsonl"
    command = [FPTQ, "eval", MODEL, "--tasks", "piqa", "--data", tmp_path, "--details", details]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    rows = [json.loads(line) for line in details.read_text().splitlines()]
    assert len(rows) == 4 * len(DOCUMENTS)
    for row in rows:
        log_likelihood, greedy = samples["choice"][row["doc_id"]][row["idx"]]
        assert float(log_likelihood) == row["log_likelihood"]
        assert str(greedy) == str(row["greedy"])


def test_rolling_is_what_score_says(samples, llm):
    most = llm.info.positions
    lengths = []
    for document, (found,) in zip(DOCUMENTS, samples["rolling"], strict=True):
        tokens = llm.encode(document["text"], special=False, prefix=False)
        lengths.append(len(tokens))
        first = llm.score([llm.info.start_token, *tokens[:most]])[1:].sum()
        # Of what is left, each part has as many tokens before it as the model can read.
        rest, done = 0.0, min(most, len(tokens))
        while done < len(tokens):
            end = min(done + most, len(tokens))
            rest += llm.score(tokens[end - most - 1 : end])[done - end :].sum()
            done = end
        # Sums of some hundred terms, in another order.
        assert np.isclose(float(np.ravel(found)[0]), first + rest, rtol=1e-12)
    if MODEL.name.startswith("tiny"):
        assert min(lengths) < most < max(lengths)


def test_texts_are_what_generate_says(samples, llm):
    prompts = [document["context"] for document in DOCUMENTS]
    answers = llm.generate(prompts, temperature=0, max_tokens=16, stop=".")
    assert [[answer.text] for answer in answers] == samples["continue"]
