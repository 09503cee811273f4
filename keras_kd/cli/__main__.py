"""`python -m keras_kd.cli`: the command `keras-kd`."""

from keras_kd.cli import app

if __name__ == "__main__":
    app(prog_name="keras-kd")
