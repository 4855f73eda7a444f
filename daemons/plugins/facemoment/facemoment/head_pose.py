"""How a head is turned, from the points of a face mesh: perspective-n-point (PnP) in numpy.

A rigid model of a face is turned and moved until its picture lies on the points that were found: first under a scaled
orthographic camera, which has a closed form (POS: DeMenthon and Davis, "Model-based object pose in 25 lines of code",
IJCV 15, 1995), then by Gauss-Newton steps under a pinhole camera, whose focal length is assumed.

Axes, of the model and of the camera: x to the picture's right, y down, z away from the camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
Place = tuple[float, float, float]

FACE_MODEL = {
    33: (-44.5, 0.0, 0.0),  # outer corners of the eyes; 89 mm from one to the other
    263: (44.5, 0.0, 0.0),
    133: (-18.0, 1.0, -6.0),  # inner corners
    362: (18.0, 1.0, -6.0),
    168: (0.0, -6.0, -21.0),  # bridge of the nose, between the eyes
    4: (0.0, 31.0, -44.0),  # tip of the nose
    2: (0.0, 47.0, -29.0),  # where the nose meets the lip
    10: (0.0, -56.0, -16.0),  # top of the forehead
    234: (-69.0, 18.0, 55.0),  # before the ears
    454: (69.0, 18.0, 55.0),
}
"""A grown person's face, in mm, by vertex of MediaPipe's mesh: only those that neither jaw nor expression moves.

Widths and heights are mean proportions as anthropometry has them (L. G. Farkas, "Anthropometry of the Head and Face",
1994: outer corners of the eyes about 89 mm apart, inner ones about 35, cheekbones about 138, nose about 50 high).
Depths are estimates; the mesh of a dozen faces that look into a camera has, in the median, each point within 4 mm.
"""

POINTS_68 = {
    36: FACE_MODEL[33], 45: FACE_MODEL[263], 39: FACE_MODEL[133], 42: FACE_MODEL[362], 27: FACE_MODEL[168],
    30: FACE_MODEL[4], 33: FACE_MODEL[2], 0: FACE_MODEL[234], 16: FACE_MODEL[454],
}  # fmt: skip
"""The same by point of the 68 that many models give (iBUG 300-W, from 0), of which none is on the forehead."""

FOCAL_LENGTH = 1.0  # of the camera, in lengths of the picture's longer side (53 degrees wide); cameras are near that
STEPS = 6  # of Gauss-Newton: from POS on, three are enough for 0.01 degrees


class HeadPose(NamedTuple):
    """Angles in degrees, relative to the line from the face to the camera; signs as `vision.Face` says."""

    yaw: float
    pitch: float
    roll: float


def head_pose(landmarks: Array, aspect: float, by_point: Mapping[int, Place] = FACE_MODEL) -> HeadPose:
    """Find how a head is turned.

    Args:
        landmarks: shape (n, 2 or more), x and y in fractions of the picture.
        aspect: width of the picture divided by its height.
        by_point: which of the landmarks are looked at, and where they are on a face.

    Raises:
        numpy.linalg.LinAlgError: the points are no face: all in one place, or on one line.
    """
    longer = max(aspect, 1.0)
    plane = (landmarks[list(by_point), :2] - 0.5) * (aspect / longer, 1 / longer) / FOCAL_LENGTH
    rays = np.column_stack([plane, np.ones(len(plane))])
    rays = rays @ facing(rays.mean(axis=0))  # as a camera would see them that looks straight at the face
    model = np.array(list(by_point.values()))
    return angles(solve_pnp(model - model.mean(axis=0), rays[:, :2] / rays[:, 2:]))


def facing(ray: Array) -> Array:
    """Rotation of shape (3, 3) whose third column is the direction `ray`, without any roll."""
    ahead = ray / np.linalg.norm(ray)
    right = np.array([ahead[2], 0.0, -ahead[0]]) / np.hypot(ahead[0], ahead[2])
    return np.column_stack([right, np.cross(ahead, right), ahead])


def solve_pnp(model: Array, plane: Array) -> Array:
    """Find the rotation under which the pinhole picture of `model` lies on `plane`.

    Args:
        model: shape (n, 3), n > 3, centred, not all in one plane.
        plane: shape (n, 2), x / z and y / z.

    Returns:
        The rotation of shape (3, 3): camera = rotation @ model + translation.

    Raises:
        numpy.linalg.LinAlgError: the points determine none.
    """
    centre = plane.mean(axis=0)
    affine = np.linalg.lstsq(model, plane - centre, rcond=None)[0].T
    scale = np.sqrt(np.prod(np.linalg.svd(affine, compute_uv=False)))
    if not scale > 1e-9:
        raise np.linalg.LinAlgError("the points lie in one place or on one line")
    left, _, right = np.linalg.svd(affine, full_matrices=False)
    rows = left @ right
    rotation = np.vstack([rows, np.cross(rows[0], rows[1])])
    translation = np.array([*centre, 1.0]) / scale
    for _ in range(STEPS):
        turned = model @ rotation.T
        x, y, z = (turned + translation).T
        missing = np.column_stack([plane[:, 0] - x / z, plane[:, 1] - y / z]).ravel()
        by_place = np.zeros((len(model), 2, 3))
        by_place[:, 0, 0] = by_place[:, 1, 1] = 1 / z
        by_place[:, 0, 2], by_place[:, 1, 2] = -x / z**2, -y / z**2
        by_turn = np.cross(turned[:, np.newaxis], by_place)
        step = np.linalg.lstsq(np.concatenate([by_turn, by_place], axis=2).reshape(-1, 6), missing, rcond=None)[0]
        rotation, translation = turn(step[:3]) @ rotation, translation + step[3:]
    return rotation


def turn(vector: Array) -> Array:
    """Rotation matrix about a vector by its length in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / angle if angle else vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def rotation_of(pose: HeadPose) -> Array:
    """The rotation of shape (3, 3) that turns a head from facing the camera: roll first, then pitch, then yaw."""
    yaw, pitch, roll = np.radians(pose)
    return turn(np.array([0, -yaw, 0])) @ turn(np.array([-pitch, 0, 0])) @ turn(np.array([0, 0, roll]))


def angles(rotation: Array) -> HeadPose:
    """The angles of a rotation: the inverse of `rotation_of`, for pitches within 90 degrees."""
    nose = -rotation[:, 2]
    yaw, pitch = np.arctan2(nose[0], -nose[2]), np.arctan2(-nose[1], np.hypot(nose[0], nose[2]))
    upright = rotation_of(HeadPose(float(np.degrees(yaw)), float(np.degrees(pitch)), 0.0)).T @ rotation
    roll = np.arctan2(upright[1, 0], upright[0, 0])
    return HeadPose(*(float(np.degrees(angle)) for angle in (yaw, pitch, roll)))
