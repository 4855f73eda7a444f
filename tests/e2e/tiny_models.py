"""Tiny models with the inputs and outputs of real ones, which fire where a picture is pure green; nothing is learned.

    tiny_models.py FOLDER      FOLDER/pack/*.onnx, FOLDER/pose.onnx, FOLDER/emotions.onnx, FOLDER/mood.onnx

All detectors look at cells of 32 x 32 pixels of a picture that is 640 wide, and say constant things of a cell.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from tiny_onnx import Graph

CELL = 32
GREEN = [-1.0, 1.0, -1.0]  # R, G, B: 1 for pure green from 0 to 1, below 0 for black and grey

FACE_SIDES = (0.5, 1.0, 2.5, 3.0)
"""How far a face reaches to the left, up, right and down of the left top corner of its cell, in cells."""
FACE_POINTS = ((0.4, 0.5), (1.6, 0.5), (1.0, 1.2), (0.5, 2.0), (1.5, 2.0))
"""Its key points: right and down of the same corner, in cells."""
AGE = 35
EMBEDDING = (3.0, 4.0)
"""Its first two numbers; the others are 0."""

PERSON = (96.0, 160.0)
"""Width and height of the box around the middle of its cell, in pixels."""
WRIST_UP = {"left_shoulder": (5, 20, -40), "right_shoulder": (6, -20, -40), "left_wrist": (9, 30, -75)}
"""Of some of the 17 points: number, right and down of the middle of the cell, in pixels; the others lie at the hips."""
HIPS = (0, 30)
SEEN = 0.9

LOGITS_OF_GREEN = (0.0, -1.0, -1.0, -1.0, 2.0, 1.0, 0.0, -1.0)
"""Of a face that is all pure green: anger, contempt, disgust, fear, happy, neutral, sad, surprise."""
MOOD = (0.5, -0.25)
"""Valence and arousal of any face."""


def greenness(graph, name, cell):
    """How green each cell is: shape (1, 1, rows, columns)."""
    green = graph.node("Conv", name, graph.constant(np.reshape(GREEN, (1, 3, 1, 1))))
    return graph.node("AveragePool", green, kernel_shape=[cell, cell], strides=[cell, cell])


def per_cell(graph, green, factors, constants):
    """Several numbers of each cell: how green it is, times a factor, plus a constant."""
    weights = graph.constant(np.reshape(factors, (len(factors), 1, 1, 1)))
    return graph.node("Conv", green, weights, graph.constant(constants))


def constant_head(path, size, values):
    """A model that says the same of any picture, as shape (1, n)."""
    graph = Graph(data=("None", 3, size, size))
    pooled = graph.node("AveragePool", "data", kernel_shape=[size, size], strides=[size, size])
    flat = graph.node("Flatten", pooled, axis=1)
    out = graph.node("Gemm", flat, graph.constant(np.zeros((3, len(values)))), graph.constant(values), out="fc1")
    graph.output(out, ("None", len(values)))
    graph.save(path)


def detector(path):
    """SCRFD with key points: strides 8, 16 and 32, two anchors each, of which the first of stride 32 lives.

    Its input is (pixel - 127.5) / 128: pure green gives 2.99, grey of any brightness between -1 and 1.
    """
    graph = Graph(**{"input.1": (1, 3, "height", "width")})
    outputs = {"score": [], "bbox": [], "kps": []}
    for stride in (8, 16, 32):
        green = greenness(graph, "input.1", stride)
        grids = {
            "score": graph.node("Sigmoid", per_cell(graph, green, [20.0 * (stride == CELL), 0.0], [-50.0, -50.0])),
            "bbox": per_cell(graph, green, [0.0] * 8, [*FACE_SIDES, *FACE_SIDES]),
            "kps": per_cell(graph, green, [0.0] * 20, [*np.ravel(FACE_POINTS), *np.ravel(FACE_POINTS)]),
        }
        for kind, grid in grids.items():
            width = {"score": 1, "bbox": 4, "kps": 10}[kind]
            last = graph.node("Transpose", grid, perm=[0, 2, 3, 1])
            rows = graph.node("Reshape", last, graph.constant(np.int64([-1, width])), out=f"{kind}_{stride}")
            outputs[kind].append((rows, (f"anchors_{stride}", width)))
    for kind in outputs.values():
        for name, shape in kind:
            graph.output(name, shape)
    graph.save(path)


def pack(folder, points_68):
    """A pack of InsightFace's; `points_68`: shape (68, 2), from -1 to 1 over the square that is cut out."""
    folder.mkdir(parents=True)
    detector(folder / "det.onnx")
    constant_head(folder / "embedding.onnx", 112, [*EMBEDDING, *[0.0] * 510])
    constant_head(folder / "genderage.onnx", 96, [0.0, 1.0, AGE / 100])
    all_points = np.zeros((1103, 3))
    all_points[-68:, :2] = points_68
    all_points[-68:, 2] = np.linspace(-0.5, 0.5, 68)
    constant_head(folder / "1k3d68.onnx", 192, all_points.ravel())


def pose(path):
    """YOLO pose: (1, 3, 640, 640) from 0 to 1 to (1, 56, 8400), of which the last 400 are the cells of stride 32."""
    graph = Graph(images=(1, 3, 640, 640))
    middles = (np.stack(np.mgrid[:20, :20][::-1]).reshape(2, 400) + 0.5) * CELL
    points = np.zeros((17, 3, 400))
    points[:, :2], points[:, 2] = middles + np.reshape(HIPS, (2, 1)), SEEN
    for number, x, y in WRIST_UP.values():
        points[number, :2] = middles + np.array([[x], [y]])
    boxes = np.concatenate([middles, np.repeat(PERSON, 400).reshape(2, 400)])
    logits = per_cell(graph, greenness(graph, "images", CELL), [20.0], [-15.0])
    score = graph.node("Sigmoid", graph.node("Reshape", logits, graph.constant(np.int64([1, 1, 400]))))
    rows = graph.constant(boxes[np.newaxis]), score, graph.constant(points.reshape(1, 51, 400))
    live = graph.node("Concat", *rows, axis=1)
    others = graph.node("ConstantOfShape", graph.constant(np.int64([1, 56, 8000])))
    graph.output(graph.node("Concat", others, live, axis=2, out="output0"), (1, 56, 8400))
    graph.save(path)


def emotions(path, mood=()):
    """HSEmotion: (batch, 3, 224, 224), normalised as ImageNet's pictures, to 8 logits, then valence and arousal."""
    graph = Graph(input=("batch_size", 3, 224, 224))
    pooled = graph.node("AveragePool", "input", kernel_shape=[14, 14], strides=[14, 14])  # at once, it would be rounded
    pooled = graph.node("AveragePool", pooled, kernel_shape=[16, 16], strides=[16, 16])
    flat = graph.node("Flatten", pooled, axis=1)
    green = (np.array([0.0, 1.0, 0.0]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    out = len(LOGITS_OF_GREEN) + len(mood)
    weights = np.zeros((3, out))
    weights[1, : len(LOGITS_OF_GREEN)] = np.array(LOGITS_OF_GREEN) / green[1]
    bias = [*[0.0] * len(LOGITS_OF_GREEN), *mood]
    graph.node("Gemm", flat, graph.constant(weights), graph.constant(bias), out="output")
    graph.output("output", ("batch_size", out))
    graph.save(path)


def write_all(folder, points_68):
    pack(folder / "pack", points_68)
    pose(folder / "pose.onnx")
    emotions(folder / "emotions.onnx")
    emotions(folder / "mood.onnx", MOOD)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]), np.random.default_rng(1).uniform(-0.6, 0.6, (68, 2)))
