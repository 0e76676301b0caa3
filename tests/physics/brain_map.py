"""A small head as a FreeSurfer label map: ellipsoids at the places of the MNI space."""

import numpy as np

SPACING = (4.0, 4.0, 4.0)
_PAIRED = (
    ((17, 53), (26, -23, -14), (6, 16, 6)),
    ((18, 54), (23, -5, -19), (7, 7, 7)),
    ((10, 49), (11, -19, 7), (9, 13, 9)),
    ((11, 50), (13, 10, 10), (6, 12, 10)),
    ((12, 51), (25, 1, 0), (7, 17, 11)),
    ((13, 52), (19, -5, -1), (5, 8, 6)),
    ((26, 58), (10, 11, -7), (5, 5, 5)),
    ((28, 60), (10, -15, -10), (6, 6, 6)),
)


def head(pitch_deg=0.0, scale=1.0):
    """Labels ``(z, y, x)`` with z upwards, y to posterior, x to the left, and coordinates (right, anterior, superior).

    The head can be pitched and scaled; coordinates are those before.
    """
    shape = (54, 60, 48)
    z, y, x = np.meshgrid(*(np.arange(n) * 4.0 for n in shape), indexing="ij")
    points = np.stack([-(x - 94), -(y - 112), z - 120], axis=-1) / scale
    angle = np.deg2rad(pitch_deg)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    points = points @ turn

    def ball(centre, radii):
        return (((points - np.array(centre)) / np.array(radii)) ** 2).sum(-1) <= 1

    labels = np.zeros(shape, np.int32)
    right = points[..., 0] > 0
    labels[ball((0, -16, 10), (84, 102, 92))] = 511
    labels[ball((0, -16, 10), (80, 98, 86))] = 515
    labels[ball((0, -16, 10), (75, 93, 76))] = 24
    cerebrum = ball((0, -16, 18), (69, 88, 61))
    labels[cerebrum] = np.where(right, 42, 3)[cerebrum]
    white = ball((0, -16, 18), (60, 79, 52))
    labels[white] = np.where(right, 41, 2)[white]
    for side, cortex, inner in ((-1, 8, 7), (1, 47, 46)):
        labels[ball((side * 24, -62, -38), (22, 26, 16))] = cortex
        labels[ball((side * 20, -60, -36), (12, 14, 8))] = inner
    labels[ball((0, -27, -34), (11, 12, 24))] = 16
    for side, ventricle, plexus in ((-1, 4, 31), (1, 43, 63)):
        labels[ball((side * 15, -14, 26), (7, 32, 8))] = ventricle
        labels[ball((side * 15, -26, 24), (5, 8, 5))] = plexus
    for pair, (a, b, c), radii in _PAIRED:
        for label, side in zip(pair, (-1, 1), strict=True):
            labels[ball((side * a, b, c), radii)] = label
    return labels, points
