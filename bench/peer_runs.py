"""One peer on prepared data, in the environment it needs: `python peer_runs.py NAME TASK.json` writes its answers.

Imports nothing of graft but for `lr`, which is the plain probe on graft's frozen features. Started by peers.py.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
Pairs = list[list[str]]


def lr(task: dict[str, Any]) -> list[str]:
    """Logistic regression with scikit-learn's defaults on the backbone's frozen features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from graft import backbones, features
    from graft.data import Sample, digest

    name = f"local:{task['zoo']}" if task["kind"] == "picture" else "bundled:all-MiniLM-L6-v2"
    backbone = backbones.load(name)

    def seen(rows: Pairs) -> Any:
        made = [
            Sample(Path(x) if task["kind"] == "picture" else x, y, str(i), digest=digest(x))
            for i, (x, y) in enumerate(rows)
        ]
        return features.extract(backbone, made, keep=False).pooled.numpy()

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(seen(task["train"]), [y for _, y in task["train"]])
    return [str(y) for y in model.predict(seen(task["test"]))]


def trainer(task: dict[str, Any]) -> list[str]:
    """Hugging Face Trainer as its tutorial has it: defaults, 3 epochs, the same MiniLM weights."""
    import numpy as np
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    folder = task["encoder"]
    labels = sorted({y for _, y in task["train"]})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(labels))

    class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __init__(self, rows: Pairs) -> None:
            self.rows = rows

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, i: int) -> dict[str, Any]:
            text, label = self.rows[i]
            return {**tokenizer(text, truncation=True, max_length=256), "labels": labels.index(label)}

    arguments = TrainingArguments(
        output_dir=task["room"], num_train_epochs=3, save_strategy="no", report_to=[], seed=0, disable_tqdm=True
    )
    learner = Trainer(
        model=model, args=arguments, train_dataset=Rows(task["train"]), data_collator=DataCollatorWithPadding(tokenizer)
    )
    learner.train()
    answers = learner.predict(Rows(task["test"])).predictions  # type: ignore[arg-type]
    return [labels[i] for i in np.asarray(answers).argmax(axis=1)]


def fastai(task: dict[str, Any]) -> list[str]:
    """fastai's `vision_learner` with the same timm weights and `fine_tune(4)`; no network."""
    import pandas as pd
    import timm
    import torch
    from fastai.vision.all import (
        CrossEntropyLossFlat,
        ImageDataLoaders,
        Learner,
        Normalize,
        Resize,
        accuracy,
        aug_transforms,
        params,
        set_seed,
    )
    from safetensors.torch import load_file
    from torch import nn

    set_seed(0, reproducible=True)
    labels = sorted({y for _, y in task["train"]})
    frame = pd.DataFrame([(x, y) for x, y in task["train"]], columns=["path", "label"])
    loaders = ImageDataLoaders.from_df(
        frame, path="/", valid_pct=0.2, seed=0, item_tfms=Resize(256), num_workers=0,
        batch_tfms=[*aug_transforms(size=224), Normalize.from_stats([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])],
    )  # fmt: skip
    body = timm.create_model("mobilenetv2_100", pretrained=False, num_classes=0)
    weights = load_file(str(Path(task["zoo"]) / "model.safetensors"))
    body.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in weights.items() if not k.startswith("classifier")}
    )
    head = nn.Sequential(
        nn.BatchNorm1d(body.num_features),
        nn.Dropout(0.25),
        nn.Linear(body.num_features, 512, bias=False),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(512),
        nn.Dropout(0.5),
        nn.Linear(512, len(labels), bias=False),
    )  # the head `create_head` makes
    learner = Learner(
        loaders, nn.Sequential(body, head), loss_func=CrossEntropyLossFlat(), metrics=accuracy,
        splitter=lambda m: [params(m[0]), params(m[1])],
        path=Path(task["room"]),
    )  # fmt: skip
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(4)
        answers, _ = learner.get_preds(dl=loaders.test_dl([x for x, _ in task["test"]], num_workers=0))
    return [str(loaders.vocab[int(i)]) for i in torch.as_tensor(answers).argmax(dim=1)]


def autogluon(task: dict[str, Any]) -> list[str]:
    """AutoGluon MultiModalPredictor with the same weights and `time_limit=180`."""
    import pandas as pd
    from autogluon.multimodal import MultiModalPredictor

    column = "image" if task["kind"] == "picture" else "text"
    train = pd.DataFrame(task["train"], columns=[column, "label"])
    test = pd.DataFrame(task["test"], columns=[column, "label"])
    if task["kind"] == "picture":
        given = {"model.names": ["timm_image"], "model.timm_image.checkpoint_name": f"local-dir:{task['zoo']}"}
    else:
        given = {"model.names": ["hf_text"], "model.hf_text.checkpoint_name": task["encoder"]}
    predictor = MultiModalPredictor(label="label", problem_type="multiclass", path=task["room"], verbosity=0)
    predictor.fit(train, time_limit=180, hyperparameters={**given, "env.num_workers": 0, "env.num_gpus": 0}, seed=0)
    return [str(y) for y in predictor.predict(test.drop(columns="label"))]


def main() -> None:
    """Read the task, run the peer, write its answers on the test part in order."""
    task = json.loads(Path(sys.argv[2]).read_text())
    peers = {"lr": lr, "trainer": trainer, "fastai": fastai, "autogluon": autogluon}
    Path(task["out"]).write_text(json.dumps(peers[sys.argv[1]](task)))


if __name__ == "__main__":
    main()
