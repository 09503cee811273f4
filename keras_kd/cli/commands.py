"""The command line, `keras-kd`: all commands together.

A command imports Keras and the library when it runs, so that its help, and what is
wrong with its options, is there at once.
"""

import logging
import os
from collections.abc import Callable
from typing import Any

# Before Keras: TensorFlow's start-up messages are not what a user asked for.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer

from keras_kd.cli import (
    cache,
    compare_teachers,
    demo,
    distill,
    evaluate,
    studies,
    train_teacher,
)

# One run after another makes TensorFlow warn of retracing, which is as it should be.
logging.getLogger("tensorflow").setLevel(logging.ERROR)


class _Commands(typer.core.TyperGroup):
    """Says in one line what the library refuses; other errors keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (ValueError, OSError) as error:
            typer.echo(f"Error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=_Commands,
    help="Knowledge distillation for Keras 3.\n\n"
    "Train a teacher and record it, distil students from it, see what they are worth. "
    "The backend is KERAS_BACKEND (tensorflow, jax or torch).\n\n"
    "    keras-kd train-teacher runs/teacher --dataset digits --network resnet8\n\n"
    "    keras-kd cache build runs/teacher\n\n"
    "    keras-kd distill runs/online --mode online --teacher runs/teacher "
    "--cache runs/teacher/supervision\n\n"
    "    keras-kd evaluate runs/online --teacher runs/teacher\n\n"
    "    keras-kd compare-teachers runs/teacher --student-network lenet5",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
_COMMANDS: dict[str, Callable[..., None]] = {
    "train-teacher": train_teacher.command,
    "distill": distill.command,
    "evaluate": evaluate.command,
    "compare-teachers": compare_teachers.command,
    "demo": demo.command,
    "recipes": studies.recipes,
    "run": studies.run,
    "report": studies.report,
    "compare-studies": studies.compare_studies,
}
for name, command in _COMMANDS.items():
    app.command(name)(command)
app.add_typer(cache.app, name="cache")
