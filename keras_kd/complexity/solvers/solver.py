"""Which solver a kernel takes."""

from scipy.sparse.linalg import LinearOperator

from keras_kd.complexity.solvers.cholesky import KernelFactorization
from keras_kd.complexity.solvers.conjugate_gradients import ConjugateGradients
from keras_kd.complexity.solvers.random_features import FeatureFactorization

Solver = KernelFactorization | FeatureFactorization | ConjugateGradients


def solver_of(
    kernel, ridge=0.0, ill_conditioned="error", tolerance=1e-6, preconditioner=None
) -> Solver:
    """A factorisation as it is, or what solves with an array or an operator.

    Raises:
        ValueError: an argument is not for this kind of kernel.
    """
    iterative = isinstance(kernel, LinearOperator)
    if preconditioner is not None and not iterative:
        raise ValueError(
            "`preconditioner` is for conjugate gradients, with an `NTKOperator` as "
            f"`kernel`. Received: a kernel of type {type(kernel).__name__}"
        )
    if isinstance(kernel, KernelFactorization | FeatureFactorization):
        if ridge not in (0, kernel.ridge):
            raise ValueError(
                "`ridge` must be left out with a factorisation, which has its own. "
                f"Received: ridge={ridge!r}, and a factorisation with {kernel.ridge:g}"
            )
        return kernel
    if iterative:
        return ConjugateGradients(
            kernel,
            ridge,
            ill_conditioned=ill_conditioned,
            tolerance=tolerance,
            preconditioner=preconditioner,
        )
    return KernelFactorization(kernel, ridge, ill_conditioned=ill_conditioned)
