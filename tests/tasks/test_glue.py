"""glue: real loading code on tiny random checkpoints and small parquet files in the hub's schema, without a network."""

import json
import math
import random
import socket
import sys
from pathlib import Path

import pyarrow
import pytest
import torch
from pyarrow import parquet
from sklearn.metrics import f1_score, matthews_corrcoef

from hpsearch.check import check_study
from hpsearch.errors import InputError
from hpsearch.hyperparameters import Settings
from hpsearch.streams import GlobalGenerators
from hpsearch.study import build_study
from hpsearch.tasks import identity, resolve
from hpsearch.tasks.glue import Glue
from hpsearch.tasks.glue.quiet import quiet
from hpsearch.tasks.glue.samples import read
from hpsearch.tasks.glue.sets import SETS
from hpsearch.tasks.protocol import Data, DataError, OptionError, Task
from hpsearch.training.loop import train
from hpsearch.yamlfile import parse_yaml
from tests.training.resuming import assert_goes_on

transformers = pytest.importorskip("transformers")
huggingface_hub = pytest.importorskip("huggingface_hub")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
FILLERS = ["film", "plot", "actor", "scene", "long", "short", "loud", "calm", "red", "blue", "old", "new"]
WORDS = [*FILLERS, "good", "bad"]
SIZES = {"vocab_size": 19, "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 64, "max_position_embeddings": 130}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No socket is opened, and the libraries know it."""

    def refuse(*arguments):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def save(folder, config, body=None, classifier=False, **tokenizer):
    """A checkpoint as save_pretrained writes it: a body with random weights, and a tokenizer of nineteen words."""
    with GlobalGenerators(0).swapped():
        auto = transformers.AutoModelForSequenceClassification if classifier else transformers.AutoModel
        (body or auto.from_config(config)).save_pretrained(folder)
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    transformers.BertTokenizerFast(vocab=vocabulary, model_max_length=128, **tokenizer).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """One folder for each architecture, by name."""
    base = tmp_path_factory.mktemp("checkpoints")
    distil = {
        "vocab_size": 19,
        "n_layers": 2,
        "dim": 32,
        "n_heads": 2,
        "hidden_dim": 64,
        "max_position_embeddings": 130,
    }
    gpt = {
        "vocab_size": 19,
        "n_layer": 2,
        "n_embd": 32,
        "n_head": 2,
        "n_positions": 130,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }
    no_types = {"model_input_names": ["input_ids", "attention_mask"]}
    roberta = transformers.RobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=0)
    return {
        "bert": save(base / "bert", transformers.BertConfig(**SIZES)),
        "distilbert": save(base / "distilbert", transformers.DistilBertConfig(**distil), **no_types),
        "roberta": save(base / "roberta", roberta, **no_types),
        "electra": save(base / "electra", transformers.ElectraConfig(**SIZES, embedding_size=16)),
        "gpt2": save(base / "gpt2", transformers.GPT2Config(**gpt), **no_types),
    }


def sentences(count, seed=0, longest=12):
    """Texts of 3 to `longest` words, one of which is good or bad: the label."""
    draws = random.Random(seed)
    labels = [draws.randrange(2) for _ in range(count)]
    texts = []
    for label in labels:
        words = draws.choices(FILLERS, k=draws.randint(2, longest - 1))
        words.insert(draws.randint(0, len(words)), ("bad", "good")[label])
        texts.append(" ".join(words))
    return texts, labels


def write(folder, dataset="sst2", rows=120, heldout=40, hub=True, seed=0):
    """The parquet files of a set as in nyu-mll/glue; MNLI's classes and STS-B's scores are made of the two labels."""
    known = SETS[dataset]
    for number, (split, count) in enumerate({"train": rows, known.heldout[0]: heldout}.items()):
        texts, given = sentences(count, seed + number)
        columns = {known.texts[0]: texts}
        if len(known.texts) == 2:
            columns[known.texts[1]] = sentences(count, seed + number + 2)[0]
        if known.classes == 1:
            kind, given = pyarrow.float32(), [1.0 + 3.5 * label for label in given]
        else:
            kind, given = pyarrow.int64(), [label + row % (known.classes - 1) for row, label in enumerate(given)]
        columns["label"] = pyarrow.array(given, kind)
        columns["idx"] = pyarrow.array(range(count), pyarrow.int32())
        place = folder / dataset if hub else folder
        place.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.table(columns), place / f"{split}{'-00000-of-00001' if hub else ''}.parquet")
    return str(folder)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A folder that holds all nine sets, as a clone of nyu-mll/glue does."""
    folder = tmp_path_factory.mktemp("glue")
    for dataset in SETS:
        write(folder, dataset)
    return str(folder)


def seeded(task, seed=0):
    with GlobalGenerators(seed).swapped():
        return task.model().eval()


def test_it_is_a_shipped_task(sets, checkpoints):
    assert resolve("glue") is Glue
    assert isinstance(Glue(path=sets, checkpoint=checkpoints["bert"]), Task)


@pytest.mark.parametrize("dataset", SETS)
def test_every_set_trains_and_is_measured_by_its_scores(dataset, sets, checkpoints):
    task = Glue(dataset, checkpoints["bert"], path=sets)
    settings = Settings.merge({"base": "adamw", "lr": 1e-3, "rho": 0.05, "epochs": 1, "batch_size": 16})
    outcome = train(task, settings, seed=0)
    names = {"train_loss", *(f"{split}_{name}" for split in ("val", "test") for name in task.metrics)}
    assert set(outcome.metrics) == names == set(task.chance(task.data(0)))
    assert all(math.isfinite(value) for value in outcome.metrics.values())
    assert set(task.metrics) <= set(Glue.metrics) and task.metrics == SETS[dataset].metrics


def test_a_sharpness_aware_trial_learns_which_word_decides(checkpoints, tmp_path):
    task = Glue("cola", checkpoints["bert"], path=write(tmp_path, "cola", rows=400), dropout=0.0)
    layers = {"base": "adamw", "lr": 3e-3, "rho": 0.02, "epochs": 6, "batch_size": 20, "weight_decay": 0.01}
    outcome = train(task, Settings.merge(layers, {"num_shards": 2}), seed=0)
    assert outcome.status == "complete"
    assert outcome.metrics["test_accuracy"] > 0.9 and outcome.metrics["test_matthews"] > 0.8


def test_stsb_learns_a_score(checkpoints, tmp_path):
    task = Glue("stsb", checkpoints["distilbert"], path=write(tmp_path, "stsb", rows=400), dropout=0.0)
    settings = Settings.merge({"base": "adamw", "lr": 3e-3, "rho": 0.02, "epochs": 8, "batch_size": 20})
    outcome = train(task, settings, seed=0)
    assert outcome.metrics["test_pearson"] > 0.8
    assert outcome.metrics["test_loss"] < 0.4 * task.chance(task.data(0))["test_loss"]


def test_a_trial_has_the_same_bits_each_time_and_other_bits_for_another_seed(sets, checkpoints):
    settings = Settings.merge({"base": "adamw", "lr": 1e-3, "rho": 0.05, "epochs": 2, "batch_size": 16})
    first, again, other = (
        train(Glue("mrpc", checkpoints["bert"], path=sets), settings, seed).curve for seed in (3, 3, 4)
    )
    assert first == again != other


@pytest.mark.parametrize("name", ["bert", "distilbert", "roberta", "electra", "gpt2"])
def test_the_body_is_the_checkpoints_and_the_head_the_seeds(name, sets, checkpoints):
    """The first model of a process, which is read from disk, and a later one, which is copied, draw the same head."""
    from hpsearch.tasks.glue import network

    task = Glue("mnli", checkpoints[name], path=sets)
    network._pretrained.cache_clear()
    first, second, other = seeded(task, 0), seeded(task, 0), seeded(task, 1)
    pretrained = transformers.AutoModel.from_pretrained(checkpoints[name]).state_dict()
    mine, twin, theirs = (model.classifier.state_dict() for model in (first, second, other))
    prefix = first.classifier.base_model_prefix + "."
    body = {key.removeprefix(prefix): value for key, value in mine.items() if key.startswith(prefix)}
    assert body and all(torch.equal(value, pretrained[key]) for key, value in body.items())
    assert all(torch.equal(value, twin[key]) for key, value in mine.items())
    head = [key for key in mine if not key.startswith(prefix)]
    assert [key for key in mine if not torch.equal(mine[key], theirs[key])] == [k for k in head if "weight" in k]
    with torch.no_grad():
        next(first.parameters()).add_(1.0)  # what one trial does to its weights stays its own
    assert all(torch.equal(value, twin[key]) for key, value in seeded(task, 0).classifier.state_dict().items())


def test_a_head_that_the_checkpoint_holds_is_drawn_afresh(sets, tmp_path):
    for classes in (2, 3):
        folder = tmp_path / str(classes)
        checkpoint = save(folder, transformers.BertConfig(**SIZES, num_labels=classes), classifier=True)
        heads = [seeded(Glue("rte", checkpoint, path=sets), seed).classifier.classifier.weight for seed in (0, 1)]
        stored = transformers.BertForSequenceClassification.from_pretrained(checkpoint).classifier.weight
        assert heads[0].shape == (2, 32) and not torch.equal(*heads)
        assert not any(torch.equal(head, stored) for head in heads)


def test_a_pooler_that_the_checkpoint_lacks_is_drawn_for_each_seed(sets, tmp_path):
    config = transformers.BertConfig(**SIZES)
    checkpoint = save(tmp_path, config, transformers.BertModel(config, add_pooling_layer=False))
    poolers = [seeded(Glue(path=sets, checkpoint=checkpoint), seed).classifier.bert.pooler for seed in (0, 0, 1)]
    weights = [pooler.dense.weight for pooler in poolers]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_attention_is_torchs_and_weights_are_single_precision(sets, tmp_path):
    config = transformers.BertConfig(**SIZES)
    checkpoint = save(tmp_path, config, transformers.BertModel(config).half())
    model = seeded(Glue(path=sets, checkpoint=checkpoint))
    assert model.classifier.config._attn_implementation == "sdpa"
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ["bert", "distilbert", "roberta", "electra", "gpt2"])
@pytest.mark.parametrize("dataset", ["sst2", "qnli"])
def test_dynamic_padding_changes_logits_by_rounding_only(name, dataset, sets, checkpoints):
    task = Glue(dataset, checkpoints[name], path=sets)
    data, model = task.data(0), seeded(task)
    whole = model(data.train[0], data.train[1])
    for row in range(0, 30, 3):
        batch = tuple(tensor[row : row + 3] for tensor in data.train)
        longest = int(data.lengths["train"][row : row + 3].max())
        ids, segments, labels = task.crop(batch, longest)
        assert longest <= ids.shape[1] < longest + 8 and ids.shape == segments.shape
        torch.testing.assert_close(model(ids, segments), whole[row : row + 3], atol=1e-5, rtol=1e-4)
        assert torch.equal(labels, batch[2])


@pytest.mark.parametrize("name", ["bert", "distilbert", "roberta", "electra"])
@pytest.mark.parametrize("dataset", ["sst2", "mrpc"])
def test_logits_are_those_of_transformers_own_batches(name, dataset, sets, checkpoints):
    """The slow twin: text, tokenizer, padding and model as the library's users put them together."""
    task = Glue(dataset, checkpoints[name], path=sets, max_length=16)
    model, tokenizer = seeded(task), transformers.AutoTokenizer.from_pretrained(checkpoints[name])
    table = parquet.read_table(Path(sets) / dataset / "validation-00000-of-00001.parquet").to_pydict()
    texts = [table[column] for column in SETS[dataset].texts]
    batch = tokenizer(*texts, padding="max_length", truncation=True, max_length=16, return_tensors="pt")
    expected = model.classifier(**batch).logits
    data = task.data(0)
    order = batch["attention_mask"].sum(1).argsort(stable=True)
    torch.testing.assert_close(model(*data.test[:2]), expected[order], atol=1e-5, rtol=1e-4)
    assert data.test[2].tolist() == [table["label"][row] for row in order]
    assert ("token_type_ids" in batch) == (name in ("bert", "electra"))


def test_written_padding_is_text(checkpoints, tmp_path):
    path = write(tmp_path)
    text = "good [PAD] film"
    for file in (Path(path) / "sst2").glob("*.parquet"):
        table = parquet.read_table(file)
        parquet.write_table(table.set_column(0, "sentence", [[text] * len(table)]), file)
    ids, segments, _ = Glue(path=path, checkpoint=checkpoints["bert"]).data(0).train
    assert ids[0].tolist() == [2, 17, 0, 5, 3, 0, 0, 0] and segments[0].tolist() == [1, 1, 1, 1, 1, 0, 0, 0]


def test_measures_are_those_of_the_whole_split(sets, checkpoints, monkeypatch):
    task = Glue("qqp", checkpoints["bert"], path=sets)
    data, model = task.data(0), seeded(task)

    def measured(task):
        with torch.inference_mode():
            return {name: float(value) for name, value in task.measure(model, *data.test).items()}

    whole = measured(task)
    monkeypatch.setattr("hpsearch.tasks.glue.task.EVALUATED", 7)
    parts = measured(task)
    assert parts == pytest.approx(whole, abs=1e-6)
    predicted, labels = model(*data.test[:2]).argmax(1), data.test[2]
    summary = task.summarize(whole)
    assert summary["f1"] == pytest.approx(f1_score(labels, predicted))
    assert summary["accuracy"] == pytest.approx(float((predicted == labels).double().mean()))
    grammar = Glue("cola", checkpoints["bert"], path=sets)
    assert grammar.summarize(measured(grammar))["matthews"] == pytest.approx(matthews_corrcoef(labels, predicted))


def test_splits_are_disjoint_fixed_and_a_subset_is_part_of_the_whole(sets, checkpoints):
    def made(**options):
        return Glue("cola", checkpoints["bert"], path=sets, **options).data(options.get("seed", 0))

    def rows(split):
        return sorted(zip(map(tuple, split[0].tolist()), split[2].tolist(), strict=True))

    data = made()
    assert [len(split[2]) for split in (data.train, data.val, data.test)] == [108, 12, 40]
    table = parquet.read_table(Path(sets) / "cola/train-00000-of-00001.parquet")
    assert len(data.train[2]) + len(data.val[2]) == len(table)
    assert int(data.train[2].sum() + data.val[2].sum()) == sum(table["label"].to_pylist())
    small = made(subset=30, validation=12)
    assert set(rows(small.train)) <= set(rows(data.train)) and rows(small.val) == rows(data.val)
    assert len(small.train[2]) == 30 and torch.equal(small.test[0], data.test[0])
    task = Glue("cola", checkpoints["bert"], path=sets)
    assert torch.equal(task.data(0).val[0], task.data(5).val[0])
    for split in ("val", "test"):
        assert data.lengths[split].tolist() == sorted(data.lengths[split].tolist())


def test_long_texts_are_cut(sets, checkpoints):
    data = Glue("mrpc", checkpoints["bert"], path=sets, max_length=9).data(0)
    assert data.train[0].shape[1] == 9 and data.lengths["train"].max() == 9
    assert (data.train[0][data.lengths["train"] == 9][:, -1] == 3).all()  # [SEP] ends what is cut


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_dropout_replaces_all_of_the_checkpoints_own(dropout, sets, checkpoints):
    for name in ("bert", "distilbert", "gpt2"):
        model = seeded(Glue(path=sets, checkpoint=checkpoints[name], dropout=dropout))
        found = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
        assert found == {dropout}
        ids, segments, _ = (tensor[:8] for tensor in Glue(path=sets, checkpoint=checkpoints[name]).data(0).train)
        model.train()
        assert torch.equal(model(ids, segments), model(ids, segments)) == (dropout == 0)


def test_chance_is_the_constant_predictors(sets, checkpoints):
    labels = torch.tensor([1, 1, 1, 0])
    split = (torch.zeros(4, 8), torch.ones(4, 8), labels)
    other = (*split[:2], torch.tensor([0, 0, 0, 1]))
    chance = Glue("mrpc", checkpoints["bert"], path=sets).chance(Data(split, other, split))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert chance["train_loss"] == pytest.approx(entropy)
    assert chance["val_loss"] == pytest.approx(-(0.25 * math.log(0.75) + 0.75 * math.log(0.25)))
    assert (chance["val_accuracy"], chance["test_accuracy"]) == (0.25, 0.75)
    assert chance["val_f1"] == pytest.approx(f1_score([0, 0, 0, 1], [1, 1, 1, 1]))
    grammar = Glue("cola", checkpoints["bert"], path=sets).chance(Data(split, other, split))
    assert grammar["val_matthews"] == 0.0 and "val_f1" not in grammar
    scored = (*split[:2], torch.tensor([1.0, 2.0, 3.0, 4.0]))
    likeness = Glue("stsb", checkpoints["bert"], path=sets).chance(Data(scored, (*split[:2], scored[2] + 1), scored))
    assert likeness == pytest.approx(
        {"train_loss": 1.25, "val_loss": 2.25, "test_loss": 1.25, "val_pearson": 0.0, "test_pearson": 0.0}
    )


def test_folders_are_named_by_their_content(sets, checkpoints, tmp_path):
    def named(checkpoint, path, **more):
        return identity("glue", Glue, {"checkpoint": str(checkpoint), "path": str(path), **more})["options"]

    first, copied = named(checkpoints["bert"], sets), tmp_path / "copy"
    copied.mkdir()
    for file in Path(checkpoints["bert"]).iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    (copied / "README.md").write_text("a model card changes nothing")
    again = write(tmp_path / "data", "sst2")
    assert named(copied, again) == first and str(tmp_path) not in json.dumps(first)
    assert named(checkpoints["distilbert"], sets)["checkpoint"] != first["checkpoint"]
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-6}))
    assert named(copied, sets)["checkpoint"] != first["checkpoint"]
    assert named(checkpoints["bert"], write(tmp_path / "data", "sst2", seed=9))["path"] != first["path"]
    assert named(checkpoints["bert"], sets, dataset="rte")["path"] != first["path"]
    hub = {"checkpoint": "google-bert/bert-base-uncased", "revision": "86b5e09"}
    assert identity("glue", Glue, hub)["options"] == hub


def test_plain_files_are_found_too(checkpoints, tmp_path):
    for dataset in ("sst2", "mnli"):
        folder = tmp_path / dataset
        path = write(folder, dataset, hub=False)
        first = Glue(dataset, checkpoints["bert"], path=path).data(0)
        if dataset == "mnli":
            (folder / "validation_matched.parquet").rename(folder / "validation.parquet")
        second = Glue(dataset, checkpoints["bert"], path=path).data(0)
        assert torch.equal(first.test[0], second.test[0])


def test_several_files_are_one_split(checkpoints, tmp_path):
    path = Path(write(tmp_path))
    whole = path / "sst2/train-00000-of-00001.parquet"
    before, table = Glue(path=str(path), checkpoint=checkpoints["bert"]).data(0), parquet.read_table(whole)
    for number, part in enumerate((table.slice(0, 50), table.slice(50))):
        parquet.write_table(part, path / f"sst2/train-0000{number}-of-00002.parquet")
    whole.unlink()
    assert torch.equal(Glue(path=str(path), checkpoint=checkpoints["bert"]).data(0).train[0], before.train[0])


def test_the_hubs_rows_come_through_datasets(sets, checkpoints, monkeypatch):
    """Loaded over the network by a stand-in, which gets the hub's own arguments."""
    datasets = pytest.importorskip("datasets")
    files = {
        split: str(Path(sets) / f"mnli/{split}-00000-of-00001.parquet") for split in ("train", "validation_matched")
    }

    def load(*arguments):
        assert arguments == ("nyu-mll/glue", "mnli")
        found = {split: datasets.Dataset(parquet.read_table(file)) for split, file in files.items()}
        return datasets.DatasetDict(found)

    read.cache_clear()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", "/no/such/cache")
    monkeypatch.setattr(datasets, "load_dataset", load)
    mine, local = (Glue("mnli", checkpoints["bert"], path=path).data(0) for path in (None, sets))
    assert all(torch.equal(*pair) for pair in zip(mine.train + mine.test, local.train + local.test, strict=True))


def test_what_datasets_has_cached_is_used_as_it_is(sets, checkpoints, monkeypatch, tmp_path):
    """Without a word to the network, offline or not."""
    datasets = pytest.importorskip("datasets")
    from datasets.packaged_modules.parquet.parquet import Parquet

    read.cache_clear()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    files = {split: f"{sets}/rte/{split}-00000-of-00001.parquet" for split in ("train", "validation")}
    with quiet("datasets"):
        Parquet(
            str(tmp_path), dataset_name="glue", config_name="rte", hash="0", data_files=files
        ).download_and_prepare()
    # As the hub's set is kept: under its owner, and its configurations have no files in their name.
    (prepared,) = (folder for folder in (tmp_path / "glue").iterdir() if folder.is_dir())
    prepared.rename(prepared.with_name("rte"))
    (tmp_path / "glue").rename(tmp_path / "nyu-mll___glue")
    mine, local = (Glue("rte", checkpoints["bert"], path=path).data(0) for path in (None, sets))
    assert all(torch.equal(*pair) for pair in zip(mine.train + mine.test, local.train + local.test, strict=True))


def test_a_checkpoint_in_the_hubs_cache_needs_no_network(sets, checkpoints, monkeypatch, tmp_path):
    commit = "0" * 40
    snapshot = tmp_path / "models--tiny--bert" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in Path(checkpoints["bert"]).iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    refs = tmp_path / "models--tiny--bert" / "refs"
    refs.mkdir()
    (refs / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.file_download, "HF_HUB_CACHE", str(tmp_path), raising=False)
    local = seeded(Glue(path=sets, checkpoint=checkpoints["bert"])).state_dict()
    for revision in (None, "main", commit):
        task = Glue(path=sets, checkpoint="tiny/bert", revision=revision)
        assert all(torch.equal(value, local[key]) for key, value in seeded(task).state_dict().items())
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(DataError, match="no model.safetensors"):
        Glue(path=sets, checkpoint="tiny/bert")


def test_loading_says_nothing_and_leaves_the_libraries_their_voice(sets, tmp_path, capfd):
    checkpoint = save(tmp_path / "new", transformers.BertConfig(**SIZES))
    logs = transformers.utils.logging
    before = (logs.get_verbosity(), logs.is_progress_bar_enabled())
    capfd.readouterr()
    task = Glue("rte", checkpoint, path=sets)
    task.data(0)
    task.model()
    assert capfd.readouterr() == ("", "")
    assert (logs.get_verbosity(), logs.is_progress_bar_enabled()) == before


STUDY = """
name: words
task: {{name: glue, checkpoint: {checkpoint}, path: {path}, epochs: 1, batch_size: 8}}
optimizer: {{base: adamw, lr: 1.0e-3}}
arms: {{sam: {{space: {{parameters: {{rho: {{low: 0.01, high: 0.5, log: true}}}}}}}}}}
sampling: [{{sampler: qmc, configurations: 2}}]
seeds: 1
objectives: {{val_accuracy: maximize}}
"""


def checked(path, checkpoint, *overrides):
    document = parse_yaml(STUDY.format(path=path, checkpoint=checkpoint), "study.yaml")
    return check_study(*build_study(document, overrides, [Path()]))


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("task.dataset=ssst2", ["task.dataset: got 'ssst2'", "cola, sst2, mrpc", "did you mean 'sst2'?"]),
        ("task.max_length=4", ["task.max_length: got 4", "a whole number >= 8"]),
        ("task.max_length=512", ["task.max_length: got 512", "at most 128"]),
        ("task.subset=0", ["task.subset: got 0", "a whole number >= 1"]),
        ("task.subset=109", ["task.subset: got 109", "at most 108, what validation leaves of 120 training rows"]),
        ("task.validation=120", ["task.validation: got 120", "at most 119 of the 120 training rows of sst2"]),
        ("task.dropout=1.0", ["task.dropout: got 1.0", "a probability in [0, 1)"]),
        ("task.revision=main", ["task.revision: got 'main'", "null where checkpoint is a folder"]),
        ("task.path=/no/such/folder", ["task.path: '/no/such/folder' does not exist", "sst2/train-*.parquet"]),
        ("task.checkpoint=./no/such/folder", ["task.checkpoint: './no/such/folder' is not a folder", "org/name"]),
        ("task.checkpoint=tiny/none", ["'tiny/none' is not in the cache and cannot be downloaded", "set path to a"]),
        ("task.lenght=3", ["task.lenght: unknown key 'lenght'", "max_length"]),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(override, parts, sets, checkpoints):
    with pytest.raises(InputError) as caught:
        checked(sets, checkpoints["bert"], override)
    assert len(str(caught.value).splitlines()) == 1
    for part in parts:
        assert part in str(caught.value)


def test_a_good_study_is_checked_by_a_trials_normalisation_too(sets, checkpoints):
    assert checked(sets, checkpoints["bert"], "arms.sam.fixed={perturb: normalization}").task is Glue


def test_an_unknown_set_is_refused_without_a_study_too(sets):
    with pytest.raises(OptionError, match="did you mean 'sst2'"):
        Glue("sst-2", path=sets)


def rewritten(folder, change, split="train"):
    """A set whose split has been changed as `change` says, a function from table to table."""
    path = write(folder)
    file = Path(path) / f"sst2/{split}-00000-of-00001.parquet"
    parquet.write_table(change(parquet.read_table(file)), file)
    return path


def relabelled(row, value):
    def change(table):
        labels = table["label"].to_pylist()
        labels[row] = value
        return table.set_column(table.column_names.index("label"), "label", [labels])

    return change


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda t: t.rename_columns(["sentense", "label", "idx"]), ["has no column 'sentence'", "is it 'sentense'?"]),
        (lambda t: t.drop_columns("label"), ["has no column 'label'; its columns are sentence, idx"]),
        (lambda t: t.slice(0, 0), ["train-00000-of-00001.parquet has no rows"]),
        (lambda t: t.slice(0, 1), ["sst2 has 1 training row"]),
        (relabelled(5, 2), ["row 5 is 2", "a whole number from 0 to 1"]),
        (relabelled(7, None), ["column 'label', row 7 is null"]),
        (lambda t: t.set_column(1, "label", [[-1] * len(t)]), ["all labels are -1", "the train and the validation"]),
        (lambda t: t.set_column(1, "label", [[0.5] * len(t)]), ["row 0 is 0.5", "a whole number"]),
        (lambda t: t.set_column(0, "sentence", [["a", None] + ["b"] * 118]), ["row 1 is null, not a text"]),
    ],
)
def test_wrong_rows_are_told_with_file_column_and_row(change, parts, checkpoints, tmp_path):
    with pytest.raises(DataError) as caught:
        Glue(path=rewritten(tmp_path, change), checkpoint=checkpoints["bert"])
    for part in [*parts, "path: "]:
        assert part in str(caught.value)


def test_a_score_out_of_range_is_refused(checkpoints, tmp_path):
    path = write(tmp_path, "stsb")
    file = Path(path) / "stsb/validation-00000-of-00001.parquet"
    for wrong in (5.5, math.nan):
        parquet.write_table(relabelled(3, wrong)(parquet.read_table(file)), file)
        with pytest.raises(DataError, match="row 3 is .*; a label must be a number from 0 to 5"):
            Glue("stsb", path=path, checkpoint=checkpoints["bert"])


def test_files_that_are_not_there_or_not_parquet(checkpoints, tmp_path, monkeypatch):
    path = write(tmp_path / "data")
    train_file = Path(path) / "sst2/train-00000-of-00001.parquet"

    def said(**options):
        with pytest.raises(DataError) as caught:
            Glue(**{"path": path, "checkpoint": checkpoints["bert"], **options})
        return str(caught.value)

    assert "has no train split of rte; it holds sst2" in said(dataset="rte")
    assert "is a file" in said(path=str(train_file))
    content = train_file.read_bytes()
    train_file.write_bytes(content[:200])
    assert "train-00000-of-00001.parquet' cannot be read as parquet" in said()
    train_file.write_bytes(content)

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    read.cache_clear()
    monkeypatch.setattr(parquet, "ParquetFile", refuse)
    assert "may not be read; give yourself permission" in said()


def test_no_network_and_nothing_cached(checkpoints, monkeypatch):
    datasets = pytest.importorskip("datasets")
    read.cache_clear()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", "/no/such/cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="nyu-mll/glue rte is not in the cache .*; set path to a folder"):
        Glue("rte", checkpoints["bert"])


@pytest.mark.parametrize(("module", "path"), [("transformers", True), ("datasets", False)])
def test_a_library_that_is_not_installed(module, path, sets, checkpoints, monkeypatch):
    read.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=rf'{module} is not installed; pip install "hpsearch\[text\]"'):
        Glue("qnli", checkpoints["bert"], path=sets if path else None)


def without(folder, *names):
    for name in names:
        (folder / name).unlink()


def only_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def half(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


def index_of(weight_map):
    def change(folder):
        without(folder, "model.safetensors")
        (folder / "model.safetensors.index.json").write_text(weight_map)

    return change


def configured(**values):
    def change(folder):
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return change


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda f: without(f, "config.json"), ["has no config.json", "save_pretrained wrote"]),
        (lambda f: without(f, "tokenizer.json", "tokenizer_config.json"), ["has no tokenizer files"]),
        (lambda f: without(f, "model.safetensors"), ["has no model.safetensors; give a folder"]),
        (only_pickle, ["only pytorch_model.bin; pickled weights are never read", "convert them where you trust them"]),
        (half, ["model.safetensors is damaged"]),
        (index_of('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}'), ["lacks model-00001-of-00002"]),
        (index_of("[]"), ["is no index of weights"]),
        (lambda f: (f / "config.json").write_text("{"), ["config.json of"]),
        (configured(model_type="own", auto_map={"AutoConfig": "own.Own"}), ["config.json of", "is never run"]),
        (configured(model_type="vit"), ["is a vit, which transformers has no sequence classifier for"]),
        (configured(vocab_size=10), ["has 19 tokens and the model 10 embeddings"]),
        (lambda f: (f / "tokenizer.json").write_text("{}"), ["the tokenizer of"]),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused_before_training(change, parts, sets, tmp_path):
    folder = tmp_path / "checkpoint"
    save(folder, transformers.BertConfig(**SIZES))
    change(folder)
    with pytest.raises(DataError) as caught:
        Glue(path=sets, checkpoint=str(folder))
    for part in [*parts, "checkpoint: "]:
        assert part in str(caught.value)


def test_weights_of_another_model_are_never_trained_as_if_pretrained(sets, tmp_path):
    """transformers would draw what is missing at random, with a warning."""
    folder = tmp_path / "checkpoint"
    save(folder, transformers.BertConfig(**SIZES))
    for change in (configured(num_hidden_layers=3), configured(num_hidden_layers=2, intermediate_size=48)):
        change(folder)
        with pytest.raises(DataError, match=r"lack bert\.encoder.* more; give the weights that belong"):
            Glue(path=sets, checkpoint=str(folder)).model()


def test_a_trial_goes_on_from_its_checkpoint(sets, checkpoints, tmp_path):
    def task():
        return Glue("sst2", checkpoints["bert"], path=sets, dropout=0.1)

    settings = Settings.merge({"base": "adamw", "lr": 1e-3, "epochs": 2, "batch_size": 32, "rho": 0.05})
    assert_goes_on(task, settings, tmp_path / "trial.pt", at=4)  # 3 batches an epoch
