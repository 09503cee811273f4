"""Pacing: with which of the teacher's checkpoints each epoch of a student goes."""


def checkpoint_of_epochs(
    checkpoints: int, epochs: int, spacing: int, anchors: int | None
) -> list[tuple[int, int]] | None:
    """Pairs of epoch and checkpoint; `None` for the paper's rule on all of them.

    Args:
        checkpoints: how many the teacher has.
        epochs: of the student.
        spacing: of so many checkpoints one is used, and the last one in any case.
        anchors: how many are used, at equal distances and for equal numbers of epochs;
            `None`: by the paper's rule, the nearest later one.
    """
    if anchors is not None:
        used = min(anchors, checkpoints, epochs)
        # Whole epochs each, as equal as they can be.
        return [
            (a * epochs // used, (a + 1) * checkpoints // used - 1) for a in range(used)
        ]
    if spacing == 1:
        return None
    kept = list(range(spacing - 1, checkpoints, spacing))
    if kept[-1] != checkpoints - 1:
        kept.append(checkpoints - 1)
    pairs: list[tuple[int, int]] = []
    for epoch in range(epochs):
        # By epochs completed.
        later = (i for i in kept if (i + 1) * epochs > epoch * checkpoints)
        pairs.append((epoch, next(later)))
    return pairs
