"""A finished run in other libraries: a plain transformers folder, and scikit-learn's cross-validation.

python examples/hooks.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from transformers import AutoModel, AutoTokenizer

import graft
from graft import estimator, hooks


def main() -> None:
    """Fit a probe on the messages that come along, and use it without graft's own calls."""
    frame = pd.read_csv(Path(__file__).parent / "messages" / "messages.csv")
    texts, labels = list(frame["text"]), list(frame["label"])
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain"
        run = graft.fit(
            frame, backbone="bundled:all-MiniLM-L6-v2", recipe="probe", out=Path(folder) / "messages", quiet=True
        )

        # scikit-learn: it answers as the run does; a clone is fitted anew, on features that are computed once.
        made = estimator.from_run(run)
        print("sklearn says:", made.predict(["the parcel is two weeks late"])[0])
        scores = cross_val_score(clone(made).set_params(l2=0.01), texts, labels, cv=5)
        print(f"cross-validated accuracy: {scores.mean():.2f}")

        # transformers: a folder that needs no graft. sentence-transformers opens it too: SentenceTransformer(plain).
        hooks.to_transformers(run, plain)
        batch = AutoTokenizer.from_pretrained(plain)(texts[:2], padding=True, truncation=True, return_tensors="pt")
        tokens = AutoModel.from_pretrained(plain)(**batch).last_hidden_state
        print(
            "transformers gives tokens of", tokens.shape[2], "numbers; files:", sorted(p.name for p in plain.iterdir())
        )


if __name__ == "__main__":
    main()
