"""What a solver raises when it does not converge (page: book/memory/hierarchical.md)."""


class NotConverged(ArithmeticError):
    """A solver stopped before it reached its tolerance.

    Parameters
    ----------
    what : the solver and why it stopped, as the message shall begin.
    residual : how far from a solution it was; NaN where the solver gives none.
    iterations : how many steps, or evaluations of the velocity, it had made.

    Attributes ``residual`` and ``iterations`` hold the two numbers for programs that retry.
    """

    def __init__(self, what: str, residual: float, iterations: int):
        self.residual = float(residual)
        self.iterations = int(iterations)
        super().__init__(f"{what}: residual {self.residual:.3g} after {self.iterations} iterations")
        self._arguments = (what, self.residual, self.iterations)

    def __reduce__(self):
        return type(self), self._arguments  # exceptions are rebuilt from their message otherwise
