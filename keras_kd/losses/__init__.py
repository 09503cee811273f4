"""Distillation losses, one family a file."""

from keras_kd.losses.attention_transfer import AttentionTransfer
from keras_kd.losses.decoupled import DecoupledKD
from keras_kd.losses.dist import DIST
from keras_kd.losses.feature_hint import FeatureHint
from keras_kd.losses.label_smoothing import LabelSmoothingCrossentropy
from keras_kd.losses.logit_mse import LogitMSE
from keras_kd.losses.relational import RelationalKD
from keras_kd.losses.soft_targets import SoftTargets

__all__ = [
    "DIST",
    "AttentionTransfer",
    "DecoupledKD",
    "FeatureHint",
    "LabelSmoothingCrossentropy",
    "LogitMSE",
    "RelationalKD",
    "SoftTargets",
]
