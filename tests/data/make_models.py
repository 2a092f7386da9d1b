"""Write a small model of this version, and what it answers, for test_persistence.py.

Run it with the oldest supported versions (.ci/oldest.txt): newer ones read older files. The
feature map of the model is ours: scikit-learn's own estimators do not promise to load in
another version.
"""

from pathlib import Path

import joblib
import numpy as np

from sklearn_cmh import DSAH, MultimodalData, __version__
from sklearn_cmh.datasets import make_multimodal_classification


def main():
    X, y = make_multimodal_classification(60, {"image": 6, "text": 4}, random_state=0)
    labels = np.array(["ant", "bee", "cat", "dog"])[y]
    model = DSAH(16, n_anchors=12, random_state=0).fit(X[:40], labels[:40])
    queries = MultimodalData(**{name: X[name][40:] for name in X.names})
    answers = {
        "codes": model.codes_,
        "fused": model.transform(queries),
        "y": labels[40:],
        "score": model.score(queries, labels[40:]),
    }
    for name in X.names:
        answers[name] = queries[name]
        answers[f"{name}_codes"] = model.encode(queries, modality=name)
    file = Path(__file__).parent / f"dsah_{__version__}.joblib"
    joblib.dump(model, file, compress=3)
    np.savez_compressed(file.with_suffix(".npz"), **answers)


if __name__ == "__main__":
    main()
